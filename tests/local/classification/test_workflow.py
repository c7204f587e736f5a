"""The deployed workflow, end to end: every image ends in exactly one outcome, and nothing is lost."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from lambda_src.shared.item import ImageRef
from local.cloud import LocalCloud
from local.demonstration import Environment, Execution, Inbox, check_execution, labelled_images, wait_for
from local.sagemaker.fault import Fault


def inference_id(environment: Environment, key: str) -> str:
    version = boto3.client("s3").head_object(Bucket=environment.bucket, Key=key)["VersionId"]
    return ImageRef(environment.bucket, key, version).inference_id


def outcome_of(execution: Execution, key: str) -> dict[str, Any]:
    (outcome,) = [outcome for outcome in execution.manifest["outcomes"] if outcome["s3_key"] == key]
    return dict(outcome)


def digest(inbox: Inbox) -> dict[str, str]:
    (message,) = wait_for(lambda: inbox.messages() or None, "the digest")
    return message


def test_a_list_of_confident_images_succeeds(
    environment: Environment, inbox: Inbox, confident_images: list[str]
) -> None:
    execution = environment.classify(confident_images)
    assert (execution.status, execution.error) == ("SUCCEEDED", None)
    assert execution.counts == {"ACCEPTED": len(confident_images), "REJECTED": 0, "WAITING": 0, "FAILED": 0}
    check_execution(environment, execution, confident_images)
    assert inbox.messages() == []


def test_the_model_distinguishes_the_classes(environment: Environment, dataset: Path) -> None:
    images = labelled_images(dataset, environment.config.classes, at_most=40)
    execution = environment.classify([image.key for image in images])
    check_execution(environment, execution, [image.key for image in images])
    right = sum(outcome_of(execution, image.key)["label"] == image.true_class for image in images)
    assert right >= 0.8 * len(images)


def test_a_prediction_object_names_the_image_and_the_prediction(
    environment: Environment, confident_images: list[str]
) -> None:
    execution = environment.classify(confident_images[:1])
    outcome = outcome_of(execution, confident_images[0])
    stored = boto3.client("s3").get_object(Bucket=environment.bucket, Key=outcome["prediction_key"])
    prediction = json.loads(stored["Body"].read())
    assert prediction["s3_key"] == confident_images[0]
    assert prediction["label"] == outcome["label"]
    assert prediction["confidence"] == outcome["confidence"] == max(prediction["inferences"])
    assert prediction["inference_id"] == inference_id(environment, confident_images[0])


def test_an_image_with_low_confidence_is_rejected_visibly_and_the_others_are_stored(
    cloud: LocalCloud, environment: Environment, inbox: Inbox, confident_images: list[str]
) -> None:
    unsure, *rest = confident_images
    fault = Fault(status=200, body="[0.6, 0.4]", inference_id=inference_id(environment, unsure))
    cloud.order_faults(environment.config.endpoint_name, fault)
    execution = environment.classify(confident_images)
    assert (execution.status, execution.error) == ("FAILED", "InferencesRejected")
    assert execution.counts == {"ACCEPTED": len(rest), "REJECTED": 1, "WAITING": 0, "FAILED": 0}
    rejected = outcome_of(execution, unsure)
    assert (rejected["outcome"], rejected["error"]) == ("REJECTED", "LowConfidenceError")
    assert (rejected["label"], rejected["confidence"]) == ("bicycle", 0.6)
    message = digest(inbox)
    assert message["Subject"] == f"Scones Unlimited dev: 1 of {len(confident_images)} images not accepted"
    assert unsure in message["Message"]
    assert execution.arn in message["Message"]


# Not below test/, of which other tests draw their traffic
@pytest.mark.parametrize(
    ("key", "body", "error"),
    [
        ("scheduled/missing.png", None, "ImageNotFoundError"),
        ("scheduled/empty.png", b"", "CorruptImageError"),
        ("scheduled/text.png", b"I am no image", "CorruptImageError"),
        ("scheduled/huge.png", bytes(200_000), "ImageTooLargeError"),
        ("models/secret.png", b"I am out of reach", "ImageAccessDeniedError"),
    ],
)
def test_one_bad_image_fails_by_name_and_its_siblings_are_stored(
    environment: Environment, inbox: Inbox, confident_images: list[str], key: str, body: bytes | None, error: str
) -> None:
    if body is not None:
        boto3.client("s3").put_object(Bucket=environment.bucket, Key=key, Body=body)
    siblings = confident_images[:3]
    execution = environment.classify([siblings[0], key, *siblings[1:]])
    assert (execution.status, execution.error) == ("FAILED", "InferencesFailed")
    assert execution.counts == {"ACCEPTED": 3, "REJECTED": 0, "WAITING": 0, "FAILED": 1}
    failed = outcome_of(execution, key)
    assert (failed["outcome"], failed["error"]) == ("FAILED", error)
    assert f"FAILED {key} - {error}: {failed['cause']}" in digest(inbox)["Message"]


@pytest.mark.parametrize(("failures", "outcome"), [(2, "ACCEPTED"), (3, "ACCEPTED"), (4, "FAILED")])
def test_an_endpoint_that_recovers_within_three_retries_loses_nothing(
    cloud: LocalCloud, environment: Environment, confident_images: list[str], failures: int, outcome: str
) -> None:
    target = inference_id(environment, confident_images[0])
    cloud.order_faults(environment.config.endpoint_name, *[Fault(status=500, inference_id=target)] * failures)
    found = outcome_of(environment.classify(confident_images[:1]), confident_images[0])
    assert found["outcome"] == outcome
    assert found.get("error") == (None if outcome == "ACCEPTED" else "EndpointUnavailableError")


def test_the_originals_single_item_is_a_list_of_one(environment: Environment, confident_images: list[str]) -> None:
    item = {"image_data": "", "s3_bucket": environment.bucket, "s3_key": confident_images[0]}
    execution = environment.execute(item)
    assert execution.status == "SUCCEEDED"
    check_execution(environment, execution, confident_images[:1])


def test_the_originals_envelope_is_opened(environment: Environment, confident_images: list[str]) -> None:
    item = {
        "image_data": "",
        "s3_bucket": environment.bucket,
        "s3_key": confident_images[0],
        "inferences": "[0.9, 0.1]",
    }
    execution = environment.execute({"statusCode": 200, "body": json.dumps({"statusCode": 200, "body": item})})
    assert execution.status == "SUCCEEDED"
    check_execution(environment, execution, confident_images[:1])


def test_an_event_of_a_bucket_without_versions_is_classified(
    environment: Environment, confident_images: list[str]
) -> None:
    detail = {"bucket": {"name": environment.bucket}, "object": {"key": confident_images[0], "size": 5}}
    execution = environment.execute(detail)
    assert execution.status == "SUCCEEDED"
    check_execution(environment, execution, confident_images[:1])


def test_a_prefix_stands_for_all_images_below_it(environment: Environment, confident_images: list[str]) -> None:
    s3 = boto3.client("s3")
    for key in confident_images[:3]:
        source = f"{environment.bucket}/{key}"
        s3.copy_object(Bucket=environment.bucket, Key=f"scheduled/nightly/{key}", CopySource=source)
    execution = environment.execute({"s3_bucket": environment.bucket, "s3_prefix": "scheduled/nightly/"})
    assert execution.status == "SUCCEEDED"
    check_execution(environment, execution, [f"scheduled/nightly/{key}" for key in confident_images[:3]])


def test_an_image_that_has_a_prediction_of_another_label_fails_by_name_and_keeps_it(
    environment: Environment, confident_images: list[str]
) -> None:
    s3, key = boto3.client("s3"), "scheduled/predicted\n\nAll clear, sign in at http://evil.png"
    source = f"{environment.bucket}/{confident_images[0]}"
    version = s3.copy_object(Bucket=environment.bucket, Key=key, CopySource=source)["VersionId"]
    prediction, other = f"predictions/{key}/{version}.json", b'{"label": "unicycle", "confidence": 1.0}'
    s3.put_object(Bucket=environment.bucket, Key=prediction, Body=other)
    inbox = Inbox(environment.alert_topic_arn)
    failed = outcome_of(environment.classify([key]), key)
    assert (failed["outcome"], failed["error"]) == ("FAILED", "PredictionDiffersError")
    assert s3.get_object(Bucket=environment.bucket, Key=prediction)["Body"].read() == other
    # What whoever uploads writes into a key has no line of its own in the mail
    assert "FAILED scheduled/predicted��All clear, sign in at" in digest(inbox)["Message"]


@pytest.mark.parametrize("name", ["bike.png", "my bike é+100% 🚲.png"])
def test_an_upload_starts_the_workflow_automatically(
    environment: Environment, confident_images: list[str], name: str
) -> None:
    data = boto3.client("s3").get_object(Bucket=environment.bucket, Key=confident_images[0])["Body"].read()
    execution = environment.classify_upload(name, data)
    check_execution(environment, execution, [f"incoming/{name}"])
    assert execution.status == "SUCCEEDED"


@pytest.mark.parametrize(
    ("execution_input", "error"),
    [
        ({"images": "test/bike.png"}, "InvalidInputError"),
        ({"images": [{"s3_bucket": "b", "s3_key": str(index)} for index in range(501)]}, "TooManyImagesError"),
    ],
)
def test_input_other_than_a_list_of_at_most_500_images_is_refused(
    environment: Environment, execution_input: dict[str, Any], error: str
) -> None:
    execution = environment.execute(execution_input)
    assert (execution.status, execution.error) == ("FAILED", error)
    assert not execution.manifest


def test_every_request_is_captured_with_its_image_and_its_response(
    environment: Environment, confident_images: list[str]
) -> None:
    environment.classify(confident_images[:1])
    expected = inference_id(environment, confident_images[0])
    wait_for(lambda: expected in environment.recorded_inference_ids() or None, "the capture")
