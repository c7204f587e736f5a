import re
from typing import Any

import boto3
import pytest
from botocore.validate import ParamValidator

from lambda_src.shared.algorithms import ACCURACY_METRIC
from stacks.config import ConfigError, EnvironmentConfig, parse_environment
from stacks.retraining.training_job import training_job_request, training_resources
from stacks.shared import model_code
from stacks.shared.algorithm import ALGORITHMS, IMAGE_CLASSIFICATION
from stacks.shared.hyperparameters import hyperparameters, parameters_digest
from stacks.shared.model_code import code_digest, code_files

BUILTIN = parse_environment("dev", {})
SCIKIT_LEARN = parse_environment("dev", {"training": {"algorithm": "scikit-learn"}})


def _request(config: EnvironmentConfig, **changed: Any) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "job_name": "scones-dev-0123abcd-0123abcd-1",
        "bucket": "b",
        "role_arn": "arn:aws:iam::123456789012:role/sagemaker",
        "image": "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1",
        "num_training_samples": "1000",
        "resources": training_resources("ml.p3.2xlarge"),
        "checkpoint_uri": "s3://b/models/x/checkpoints/",
        "tags": {"data-digest": "0" * 64},
        **changed,
    }
    return {**training_job_request(config, **inputs)}


@pytest.mark.parametrize(
    ("algorithm", "preset"), [(name, preset) for name, each in ALGORITHMS.items() for preset in each.presets]
)
@pytest.mark.parametrize("spot", [False, True])
def test_every_request_is_one_that_sagemaker_accepts(algorithm: str, preset: str, spot: bool) -> None:
    config = parse_environment("dev", {"training": {"algorithm": algorithm, "preset": preset, "spot": spot}})
    model = boto3.Session("unit", "test", region_name="us-east-1").client("sagemaker").meta.service_model
    shape = model.shape_for("CreateTrainingJobRequest")
    report = ParamValidator().validate(_request(config), shape)
    assert not report.has_errors(), report.generate_report()


def test_the_four_channels_are_the_buckets_prefixes() -> None:
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in _request(parse_environment("dev", {}))["InputDataConfig"]
    }
    assert channels == {
        "train": "s3://b/train/",
        "validation": "s3://b/test/",
        "train_lst": "s3://b/train_lst/",
        "validation_lst": "s3://b/test_lst/",
    }


def test_scikit_learn_runs_its_code_instead_of_the_containers_entry_point_and_reports_its_accuracy() -> None:
    request = _request(SCIKIT_LEARN)
    channels = {c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"] for c in request["InputDataConfig"]}
    assert channels.pop("code") == f"s3://b/code/{code_digest()}/"
    assert channels.keys() == {"train", "validation", "train_lst", "validation_lst"}
    specification = request["AlgorithmSpecification"]
    assert specification["ContainerEntrypoint"] == ["python3", "/opt/ml/input/data/code/train.py"]
    (metric,) = specification["MetricDefinitions"]
    assert metric["Name"] == ACCURACY_METRIC
    found = re.search(metric["Regex"], "2026-11-26 #quality_metric validation:accuracy=0.915;")
    assert found
    assert found[1] == "0.915"
    assert request["HyperParameters"] == {"num_classes": "2", "num_training_samples": "1000"}
    assert request["EnableNetworkIsolation"] is True


def test_other_code_is_another_model_of_scikit_learn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [parameters_digest(config) for config in (BUILTIN, SCIKIT_LEARN)]
    monkeypatch.setattr(model_code, "code_files", lambda: {**code_files(), "model.py": b"# better"})
    code_digest.cache_clear()
    try:
        after = [parameters_digest(config) for config in (BUILTIN, SCIKIT_LEARN)]
    finally:
        code_digest.cache_clear()
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_the_digest_of_the_built_in_algorithm_is_what_it_was_before_there_was_another() -> None:
    """Jobs are named by it: another one would train every environment's model again."""
    assert parameters_digest(BUILTIN) == "cbfe4387"


def test_images_travel_as_they_are_and_the_container_has_no_network() -> None:
    request = _request(parse_environment("dev", {}))
    assert {channel["ContentType"] for channel in request["InputDataConfig"]} == {"application/x-image"}
    assert request["AlgorithmSpecification"]["TrainingInputMode"] == "File"
    assert request["OutputDataConfig"] == {"S3OutputPath": "s3://b/models/"}
    assert request["EnableNetworkIsolation"] is True
    assert {tag["Key"]: tag["Value"] for tag in request["Tags"]} == {
        "application": "scones-unlimited",
        "environment": "dev",
        "data-digest": "0" * 64,
    }


def test_only_a_spot_job_waits_and_keeps_checkpoints() -> None:
    on_demand = _request(parse_environment("dev", {}))
    assert on_demand["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}
    assert not {"EnableManagedSpotTraining", "CheckpointConfig"} & on_demand.keys()
    spot = _request(parse_environment("dev", {"training": {"spot": True, "max_runtime_minutes": 30}}))
    assert spot["EnableManagedSpotTraining"] is True
    assert spot["StoppingCondition"] == {"MaxRuntimeInSeconds": 1800, "MaxWaitTimeInSeconds": 9000}
    assert spot["CheckpointConfig"] == {"S3Uri": "s3://b/models/x/checkpoints/"}


@pytest.mark.parametrize("preset", IMAGE_CLASSIFICATION.presets)
def test_presets_keep_to_what_the_algorithm_takes(preset: str) -> None:
    values = hyperparameters(parse_environment("dev", {"training": {"preset": preset}}))
    assert all(isinstance(value, str) for value in values.values())
    transfer = values.get("use_pretrained_model") == "1"
    # For 224x224 images, the only ones that come pretrained; and for images as small as these
    allowed = ["18", "34", "50", "101", "152", "200"] if transfer else ["20", "32", "44", "56", "110"]
    assert values["num_layers"] in allowed
    crop = int(values["image_shape"].split(",")[1])
    assert transfer == (crop == 224)
    if "resize" in values:
        assert int(values["resize"]) > crop


def test_the_configuration_overrides_the_preset() -> None:
    config = parse_environment(
        "dev",
        {
            "classes": ["bus", "streetcar", "tractor"],
            "training": {"hyperparameters": {"epochs": 8, "learning_rate": 0.01, "optimizer": "adam"}},
        },
    )
    values = hyperparameters(config)
    assert values["num_classes"] == "3"
    assert (values["epochs"], values["learning_rate"], values["optimizer"]) == ("8", "0.01", "adam")
    assert values["lr_scheduler_step"] == "4,6", "follows the epochs"


@pytest.mark.parametrize(("epochs", "steps"), [(100, "50,75"), (4, "2,3"), (3, None), (1, None)])
def test_the_learning_rate_falls_at_a_half_and_three_quarters(epochs: int, steps: str | None) -> None:
    config = parse_environment("dev", {"training": {"hyperparameters": {"epochs": epochs}}})
    assert hyperparameters(config).get("lr_scheduler_step") == steps


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("epoch", r"training\.hyperparameters\.epoch: .* no such hyperparameter; did you mean epochs"),
        ("zzz", "did you mean augmentation_type, beta_1"),
        ("num_training_samples", "follows from the data set; remove it"),
        ("num_classes", "follows from the data set; remove it"),
    ],
)
def test_a_hyperparameter_that_cannot_be_set_is_named(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hyperparameters(parse_environment("dev", {"training": {"hyperparameters": {name: 1}}}))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"preset": "transfer"}, r"training\.preset = 'transfer': scikit-learn has scratch only"),
        ({"hyperparameters": {"epochs": 3}}, r"training\.hyperparameters\.epochs: scikit-learn has no such hyperparam"),
    ],
)
def test_hyperparameters_of_the_other_algorithm_are_named(training: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hyperparameters(parse_environment("dev", {"training": {"algorithm": "scikit-learn", **training}}))
