"""The baseline of a trained model, in the account inside the process; Batch Transform's output is written here."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from data_prep import aws
from data_prep.baseline import store_baseline
from data_prep.errors import TrainingError
from lambda_src.retraining.trained_model import Prediction, documents_of
from lambda_src.shared.algorithms import SCIKIT_LEARN
from lambda_src.shared.baseline import Baseline
from lambda_src.shared.model_documents import Document, document_key
from stacks.config import EnvironmentConfig
from tests.unit.data_prep.conftest import batch_transform, list_validation_images

JOB = "scones-dev-11111111-22222222-1"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
KEY = f"models/{JOB}/baseline.json"
Transform = dict[str, Any]


@pytest.fixture
def model(cloud: str, config: EnvironmentConfig) -> str:
    """A list of as many validation images as a baseline needs, and what training hands over."""
    list_validation_images(cloud)
    metadata = {"job": JOB, "artifact_uri": f"s3://{cloud}/models/{JOB}/output/model.tar.gz", "image": IMAGE}
    aws.ssm().put_parameter(Name=config.model_metadata_parameter, Value=json.dumps(metadata), Type="String")
    return cloud


@pytest.fixture
def transforms(cloud: str) -> Iterator[list[Transform]]:
    """The model takes every image for a bicycle; the requests of its jobs."""
    with batch_transform(cloud, lambda number: 0.6 + number / 200) as started:
        yield started


def parameter(config: EnvironmentConfig) -> str:
    return aws.ssm().get_parameter(Name=config.baseline_parameter)["Parameter"]["Value"]


def stored(bucket: str) -> Baseline:
    return Baseline.from_json(aws.s3().get_object(Bucket=bucket, Key=KEY)["Body"].read())


def test_the_trained_model_is_asked_for_every_validation_image(
    config: EnvironmentConfig, model: str, transforms: list[Transform]
) -> None:
    result = store_baseline(config)
    assert (result.key, result.size, result.is_new) == (KEY, 40, True)
    (request,) = transforms
    assert request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] == f"s3://{model}/test/"
    assert request["TransformInput"]["ContentType"] == "application/x-image"
    found = stored(model)
    assert found.classes == ("bicycle", "motorcycle")
    assert found.class_counts == (40, 0)
    assert found.artifact_uri == f"s3://{model}/models/{JOB}/output/model.tar.gz"
    assert parameter(config) == KEY


def test_the_models_documents_are_those_of_retraining(
    config: EnvironmentConfig, model: str, transforms: list[Transform]
) -> None:
    store_baseline(config)

    def kept(document: Document) -> Any:
        return json.loads(aws.s3().get_object(Bucket=model, Key=document_key(JOB, document))["Body"].read())

    predictions = [Prediction(**image) for image in kept("predictions")["images"]]
    assert predictions[0] == Prediction("test/image_0.png", 0, [0.6, 0.4])
    again = documents_of(predictions, classes=config.classes, artifact_uri=stored(model).artifact_uri)
    assert {name: kept(name) for name in again} == json.loads(json.dumps(again))
    assert kept("evaluation")["accuracy"] == 0.5


def test_a_baseline_without_the_predictions_is_computed_again(
    config: EnvironmentConfig, model: str, transforms: list[Transform]
) -> None:
    """`ops threshold` names this command when it finds no predictions."""
    store_baseline(config)
    aws.s3().delete_object(Bucket=model, Key=document_key(JOB, "predictions"))
    assert store_baseline(config).is_new is True
    assert store_baseline(config).is_new is False


def test_no_model_is_left_behind(config: EnvironmentConfig, model: str, transforms: list[Transform]) -> None:
    store_baseline(config)
    assert aws.sagemaker().list_models()["Models"] == []


def test_the_model_has_its_own_container_and_no_network(
    config: EnvironmentConfig, model: str, transforms: list[Transform]
) -> None:
    created: list[dict[str, Any]] = []
    events = aws.sagemaker().meta.events
    events.register(
        "before-call.sagemaker.CreateModel",
        lambda params, **_: created.append(json.loads(params["body"])),
        unique_id="c",
    )
    store_baseline(config)
    events.unregister("before-call.sagemaker.CreateModel", unique_id="c")
    (request,) = created
    assert request["EnableNetworkIsolation"] is True
    assert request["PrimaryContainer"]["Image"] == IMAGE
    assert request["PrimaryContainer"]["Environment"] == SCIKIT_LEARN.serving_environment


def test_a_baseline_that_is_there_is_not_computed_again(
    config: EnvironmentConfig, model: str, transforms: list[Transform]
) -> None:
    store_baseline(config)
    aws.ssm().delete_parameter(Name=config.baseline_parameter)
    assert store_baseline(config).is_new is False
    assert parameter(config) == KEY
    assert len(transforms) == 1
    assert store_baseline(config, force=True).is_new is True


def test_a_corrupt_baseline_is_reported_and_can_be_computed_again(
    config: EnvironmentConfig, model: str, transforms: list[Transform]
) -> None:
    aws.s3().put_object(Bucket=model, Key=KEY, Body=b"{}")
    with pytest.raises(TrainingError, match=r"not a baseline .*`--force` computes it again"):
        store_baseline(config)
    assert store_baseline(config, force=True).size == 40


def test_without_a_model_there_is_no_baseline(config: EnvironmentConfig, cloud: str) -> None:
    with pytest.raises(TrainingError, match="no model yet: run `python -m data_prep train --env dev`"):
        store_baseline(config)


def test_too_few_images_are_reported_before_a_job_costs_money(
    config: EnvironmentConfig, model: str, transforms: list[Transform]
) -> None:
    list_validation_images(model, 39)
    with pytest.raises(TrainingError, match="39 images, but a baseline needs at least 40"):
        store_baseline(config)
    assert transforms == []


def test_missing_predictions_are_reported(config: EnvironmentConfig, model: str, transforms: list[Transform]) -> None:
    list_validation_images(model, 41)
    with pytest.raises(TrainingError, match=r"left no prediction in s3://scones-dev-data at .*/image_40\.png\.out"):
        store_baseline(config)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({"TransformJobStatus": "Failed", "FailureReason": "bad image"}, "failed: bad image"),
        ({"TransformJobStatus": "Failed"}, "failed: no reason given"),
    ],
)
def test_a_failed_job_is_reported_with_its_reason_and_leaves_no_model(
    config: EnvironmentConfig,
    model: str,
    transforms: list[Transform],
    monkeypatch: pytest.MonkeyPatch,
    response: dict[str, str],
    message: str,
) -> None:
    def failed(parsed: dict[str, Any], **_: object) -> None:
        parsed.pop("FailureReason", None)
        parsed.update(response)

    events = aws.sagemaker().meta.events
    events.register("after-call.sagemaker.DescribeTransformJob", failed)
    try:
        with pytest.raises(TrainingError, match=message):
            store_baseline(config)
    finally:
        events.unregister("after-call.sagemaker.DescribeTransformJob", failed)
    assert aws.sagemaker().list_models()["Models"] == []


def test_a_missing_quota_is_reported_with_a_fix(
    config: EnvironmentConfig, model: str, make_refusal: Callable[[str], None]
) -> None:
    make_refusal("ResourceLimitExceeded")
    with pytest.raises(TrainingError, match=r'Ask for "ml\.m5\.large for transform job usage"'):
        store_baseline(config)


@pytest.fixture
def make_refusal() -> Iterator[Callable[[str], None]]:
    """Lets SageMaker refuse the job with an error code."""
    registered: list[Callable[..., Any]] = []
    events = aws.sagemaker().meta.events

    def make(code: str) -> None:
        def refuse(**_: object) -> tuple[Any, dict[str, Any]]:
            class Response:
                status_code = 400

            return Response(), {
                "Error": {"Code": code, "Message": "limit of 0"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }

        registered.append(refuse)
        events.register("before-call.sagemaker.CreateTransformJob", refuse)  # type: ignore[arg-type] # an answer ends the call

    yield make
    for refuse in registered:
        events.unregister("before-call.sagemaker.CreateTransformJob", refuse)
