import dataclasses
import importlib.metadata
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import create_loader
from botocore.stub import Stubber
from rich.console import Console

import data_prep.training
from data_prep import aws
from data_prep.aws_errors import one_line_errors
from data_prep.errors import DataPrepError, DataSetError, InstanceRefusedError, TrainingError
from data_prep.instances import InstanceTypes
from data_prep.train import accuracy_bars, job_table
from data_prep.training import JobState, image_uri, job_state, publish_model, start_training, wait_for_job
from data_prep.upload import upload_dataset
from lambda_src.retraining.trained_model import TrainedModel
from lambda_src.retraining.training_attempts import Attempt
from lambda_src.shared.algorithms import container_of
from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.errors import ApiError
from stacks.config import EnvironmentConfig, parse_environment
from stacks.shared.algorithm import IMAGE_CLASSIFICATION, SCIKIT_LEARN, Algorithm
from tests.unit.data_prep.conftest import ROLE_ARN, picture, write_dataset

SDK = Path(str(importlib.metadata.distribution("sagemaker-core").locate_file("sagemaker")))
JOB = "scones-dev-01234567-89abcdef-1"
IMAGE = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"


@pytest.fixture
def sagemaker(cloud: str) -> Iterator[Stubber]:
    """SageMaker with the test's responses; everything else is moto's."""
    with Stubber(aws.sagemaker()) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def _jobs() -> list[str]:
    return sorted(job["TrainingJobName"] for job in aws.sagemaker().list_training_jobs()["TrainingJobSummaries"])


def _summary(name: str, status: str) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}",
        "CreationTime": datetime(2024, 12, 22, tzinfo=UTC),
        "TrainingJobStatus": status,
    }


def _description(status: str, secondary_status: str, **more: Any) -> dict[str, Any]:
    return {
        **_summary(JOB, status),
        "SecondaryStatus": secondary_status,
        "ModelArtifacts": {"S3ModelArtifacts": f"s3://b/models/{JOB}/output/model.tar.gz"},
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "ResourceConfig": {"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "HyperParameters": {"epochs": "2"},
        **more,
    }


def _write_log(lines: list[str]) -> None:
    logs = aws.logs()
    logs.create_log_group(logGroupName="/aws/sagemaker/TrainingJobs")
    for stream in (f"{JOB}/algo-1-1734861600", "another-job/algo-1-1734861600"):
        logs.create_log_stream(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=stream)
    now = int(datetime.now(UTC).timestamp() * 1000)
    logs.put_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs",
        logStreamName=f"{JOB}/algo-1-1734861600",
        logEvents=[{"timestamp": now, "message": line} for line in lines],
    )


# Starting


def start(
    config: EnvironmentConfig, folder: Path, *, force: bool = False, said: Callable[[str], None] = pytest.fail
) -> tuple[str, bool]:
    return start_training(config, folder, instances=InstanceTypes(config.training, said), force=force)


def test_a_job_is_started_for_the_uploaded_data(uploaded: Path, config: EnvironmentConfig) -> None:
    name, is_new = start(config, uploaded)
    assert is_new
    assert re.fullmatch(r"scones-dev-[0-9a-f]{8}-[0-9a-f]{8}-1", name)
    job = aws.sagemaker().describe_training_job(TrainingJobName=name)
    assert job["HyperParameters"]["num_training_samples"] == "32"
    assert job["RoleArn"] == ROLE_ARN
    beside = aws.s3().get_object(Bucket="scones-dev-data", Key=f"models/{name}/manifest.json")
    assert beside["Body"].read() == (uploaded / "manifest.json").read_bytes()


def test_the_same_data_and_parameters_do_not_start_a_second_job(uploaded: Path, config: EnvironmentConfig) -> None:
    first, _ = start(config, uploaded)
    assert start(config, uploaded) == (first, False)
    assert _jobs() == [first]


def test_force_starts_another(uploaded: Path, config: EnvironmentConfig) -> None:
    first, _ = start(config, uploaded)
    second, is_new = start(config, uploaded, force=True)
    assert is_new
    assert _jobs() == [first, second]
    assert second == f"{first[:-1]}2"


def test_another_parameter_is_another_job_but_another_instance_is_not(uploaded: Path) -> None:
    names = [
        start(parse_environment("dev", {"training": training}), uploaded)[0]
        for training in ({}, {"hyperparameters": {"epochs": 3}}, {"instance_types": ["ml.g5.xlarge"]}, {"spot": True})
    ]
    assert names[0] != names[1]
    assert names[0] == names[2] == names[3]


def test_the_attempt_after_a_failed_one_continues_from_its_checkpoints(uploaded: Path, plane: ControlPlane) -> None:
    config = parse_environment("dev", {"training": {"spot": True}})
    first, _ = start(config, uploaded)
    plane._training_jobs[first]["TrainingJobStatus"] = "Stopped"
    second, is_new = start(config, uploaded)
    assert (second, is_new) == (f"{first[:-1]}2", True)
    checkpoints = [plane._training_jobs[name]["CheckpointConfig"] for name in (first, second)]
    assert checkpoints == [{"S3Uri": f"s3://scones-dev-data/models/{first[:-2]}/checkpoints/"}] * 2


def test_a_job_whose_bucket_was_destroyed_has_no_model(uploaded: Path, cloud: str, config: EnvironmentConfig) -> None:
    """SageMaker keeps its name, and still says Completed."""
    first, _ = start(config, uploaded)
    aws.s3().delete_object(Bucket=cloud, Key=f"models/{first}/output/model.tar.gz")
    second, is_new = start(config, uploaded)
    assert (second, is_new) == (f"{first[:-1]}2", True)
    assert publish_model(config, job_state(second)).job == second


def test_a_job_that_another_run_has_just_started_is_taken(
    uploaded: Path, plane: ControlPlane, config: EnvironmentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = start(config, uploaded)
    monkeypatch.setattr(data_prep.training, "find_attempt", lambda *_, **__: Attempt(first, "New"))
    assert start(config, uploaded) == (first, False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ("ValidationException", "Could not assume role arn:aws:iam::1:role/x. Please ensure that the role exists"),
            r"cannot assume its role: Could not assume role.*\n.*`cdk deploy dev/Data`",
        ),
        (
            ("AccessDeniedException", "User: u is not authorized to perform: iam:PassRole on resource: r"),
            r"needs iam:PassRole on arn:aws:iam::123456789012:role/sagemaker",
        ),
        (("ValidationException", "1 validation error detected"), r"refused CreateTrainingJob.*1 validation error"),
    ],
)
def test_a_refused_job_is_reported_with_reason_and_fix(
    uploaded: Path,
    plane: ControlPlane,
    config: EnvironmentConfig,
    monkeypatch: pytest.MonkeyPatch,
    error: tuple[str, str],
    expected: str,
) -> None:
    def refuse(_: object) -> None:
        raise ApiError(*error)

    monkeypatch.setattr(plane, "create_training_job", refuse)
    with pytest.raises(DataPrepError, match=expected), one_line_errors():
        start(config, uploaded)


REFUSALS = [
    ("ResourceLimitExceeded", "The account-level service limit 'ml.p3.2xlarge for training job usage' is 0 Instances"),
    ("ResourceLimitExceeded", "The requested resource training-job/ml.p3.2xlarge is not available in this region"),
    ("ValidationException", "Unsupported instance type ml.p3.2xlarge"),
    (
        "ValidationException",
        "1 validation error detected: Value 'ml.p3.2xlarge' at 'resourceConfig.instanceType' failed to satisfy "
        f"constraint: Member must satisfy enum value set: [{', '.join(f'ml.m{n}.large' for n in range(99))}]",
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_an_instance_type_that_is_refused_is_followed_by_the_next(
    uploaded: Path,
    plane: ControlPlane,
    config: EnvironmentConfig,
    monkeypatch: pytest.MonkeyPatch,
    refusal: tuple[str, str],
) -> None:
    create = plane.create_training_job

    def refuse_the_first(request: dict[str, Any]) -> dict[str, Any]:
        if request["ResourceConfig"]["InstanceType"] == "ml.p3.2xlarge":
            raise ApiError(*refusal)
        return create(request)

    monkeypatch.setattr(plane, "create_training_job", refuse_the_first)
    said: list[str] = []
    name, is_new = start(config, uploaded, said=said.append)
    assert is_new
    assert name.endswith("-1"), "a refused request takes no name"
    assert job_state(name).instance_type == "ml.g4dn.xlarge"
    (line,) = said
    assert line.startswith(f"ml.p3.2xlarge is not available ({refusal[1][:40]}")
    assert line.endswith("): trying ml.g4dn.xlarge")
    assert "\n" not in line
    assert len(line) < 400


def test_each_type_that_cannot_be_had_is_named_with_its_reason(
    uploaded: Path, plane: ControlPlane, config: EnvironmentConfig
) -> None:
    plane.withheld = dict.fromkeys(config.training.instance_types, "quota")
    with pytest.raises(TrainingError, match=r'such as "ml\.p3\.2xlarge for training job usage"') as caught:
        start(config, uploaded, said=lambda _: None)
    for name in config.training.instance_types:
        assert f"\n{name}: The account-level service limit '{name} for training job usage' is 0" in str(caught.value)
    assert 'Or set training.algorithm: "scikit-learn" in cdk.json, which needs no GPU' in str(caught.value)
    assert _jobs() == []


def test_only_a_volume_that_supports_the_key_is_encrypted_with_it(
    uploaded: Path, plane: ControlPlane, config: EnvironmentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A G4dn has disks of its own, for which SageMaker refuses a key."""
    stack = dataclasses.replace(aws.data_stack(config), key_arn=f"arn:aws:kms:us-east-1:123456789012:key/{'1' * 36}")
    monkeypatch.setattr(aws, "data_stack", lambda _: stack)
    first, _ = start(config, uploaded)
    plane.withheld = {"ml.p3.2xlarge": "quota"}
    second, _ = start(config, uploaded, force=True, said=lambda _: None)
    keys = [plane._training_jobs[name]["ResourceConfig"].get("VolumeKmsKeyId") for name in (first, second)]
    assert keys == [stack.key_arn, None]


def test_a_batch_larger_than_the_data_is_refused_before_it_costs_anything(
    tmp_path: Path, cloud: str, config: EnvironmentConfig
) -> None:
    folder = write_dataset(tmp_path / "few", 31, 2, picture)
    with pytest.raises(TrainingError, match="mini_batch_size is 32, but must be from 1 to the 31 training images"):
        start(config, folder)
    with pytest.raises(TrainingError, match="mini_batch_size is many"):
        start(parse_environment("dev", {"training": {"hyperparameters": {"mini_batch_size": "many"}}}), folder)
    assert _jobs() == []


def test_data_that_was_not_uploaded_is_not_trained_on(folder: Path, cloud: str, config: EnvironmentConfig) -> None:
    with pytest.raises(DataSetError, match=r"43 of 43 files differ .* `python -m data_prep upload --env dev`"):
        start(config, folder)
    assert _jobs() == []


def test_a_corrupt_image_is_found_before_the_job_starts(uploaded: Path, cloud: str, config: EnvironmentConfig) -> None:
    image = uploaded / "train/train_0005.png"
    image.write_bytes(image.read_bytes()[:50])
    upload_dataset(uploaded, cloud)
    with pytest.raises(DataSetError, match=r"train_0005\.png"):
        start(config, uploaded)
    assert _jobs() == []


def test_classes_in_another_order_are_another_model(uploaded: Path) -> None:
    turned = parse_environment("dev", {"classes": ["motorcycle", "bicycle"]})
    with pytest.raises(
        DataSetError, match="holds the classes bicycle, motorcycle, but environment 'dev' has motorcycle"
    ):
        start(turned, uploaded)


@pytest.fixture(scope="module")
def domains() -> dict[str, str]:
    """By region, as botocore knows them."""
    partitions = create_loader().load_data("endpoints")["partitions"]
    return {region: partition["dnsSuffix"] for partition in partitions for region in partition["regions"]}


@pytest.mark.parametrize(
    ("algorithm", "file", "scope", "version"),
    [
        (IMAGE_CLASSIFICATION, "image-classification", "", "1"),
        (SCIKIT_LEARN, "sklearn", "training", "1.9-0"),
        (SCIKIT_LEARN, "sklearn", "inference", "1.9-0"),
    ],
)
def test_the_image_is_the_one_of_the_sdk_in_every_region(
    domains: dict[str, str], algorithm: Algorithm, file: str, scope: str, version: str
) -> None:
    """The SDK's image_uris.py composes it so, but importing that takes seconds."""
    config = json.loads((SDK / f"core/image_uri_config/{file}.json").read_text())
    of_version = (config[scope] if scope else config)["versions"][version]
    tag = "-".join((version, *of_version.get("processors", ()), *of_version.get("py_versions", ())))
    expected = {
        region: f"{account}.dkr.ecr.{region}.{domains[region]}/{of_version['repository']}:{tag}"
        for region, account in of_version["registries"].items()
    }
    assert {region: image_uri(algorithm, region) for region in algorithm.registry_accounts} == expected
    assert all(container_of(image) == algorithm.container for image in expected.values())


def test_a_region_without_the_image_is_named() -> None:
    with pytest.raises(TrainingError, match="no image of scikit-learn in xx-nowhere-1"):
        image_uri(SCIKIT_LEARN, "xx-nowhere-1")


# Following


def test_the_state_shows_the_accuracy_of_each_epoch(sagemaker: Stubber) -> None:
    _write_log(
        [
            "[12/22/2024 10:00:00 INFO 140484553713472] Epoch[0] Train-accuracy=0.375000",
            "[12/22/2024 10:00:01 INFO 140484553713472] Epoch[0] Validation-accuracy=0.771429",
            "[12/22/2024 10:00:01 INFO 140484553713472] Storing the best model with validation accuracy: 0.771429",
            "[12/22/2024 10:00:02 INFO 140484553713472] Epoch[1] Validation-accuracy=0.650000",
            "[12/22/2024 10:00:02 INFO 140484553713472] Epoch[1] Validation-accuracy=0.885714",
        ]
    )
    transitions = [{"Status": "Training", "StartTime": datetime(2024, 12, 22, tzinfo=UTC), "StatusMessage": "busy"}]
    more = {"SecondaryStatusTransitions": transitions, "BillableTimeInSeconds": 41, "TrainingTimeInSeconds": 99}
    sagemaker.add_response("describe_training_job", _description("InProgress", "Training", **more))
    state = job_state(JOB)
    assert state.accuracies == {0: 0.771429, 1: 0.885714}, "after a spot interruption an epoch counts as run last"
    assert (state.message, state.billable_seconds, state.training_seconds) == ("busy", 41, 99)


def test_a_wait_shows_every_state_and_ends_with_the_job(sagemaker: Stubber, config: EnvironmentConfig) -> None:
    for status in ("Starting", "Downloading", "Training", "Interrupted", "Training", "Uploading"):
        sagemaker.add_response("describe_training_job", _description("InProgress", status))
    sagemaker.add_response("describe_training_job", _description("Completed", "Completed"))
    shown: list[str] = []
    pauses: list[float] = []
    state = wait_for_job(config, JOB, lambda state: shown.append(state.secondary_status), pauses.append)
    assert state.artifact_uri == f"s3://b/models/{JOB}/output/model.tar.gz"
    assert shown == ["Starting", "Downloading", "Training", "Interrupted", "Training", "Uploading", "Completed"]
    assert len(pauses) == 6


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (
            "Failed",
            "CapacityError: Unable to provision requested ML compute capacity.",
            "Without `--resume` the same command goes on to the next of",
        ),
        ("Failed", "AlgorithmError: batch size exceeds samples", r"batch size exceeds.*\n.*mini_batch_size"),
        ("Failed", "ClientError: Data download failed: Access Denied", "`cdk deploy dev/Data`"),
        ("Failed", "InternalServerError: We encountered an internal error", "start it again"),
        ("Failed", "AlgorithmError: unheard of", f"unheard of\nIts log: .*TrainingJobs, streams {JOB}/"),
        ("MaxWaitTimeExceeded", "", "ended as MaxWaitTimeExceeded.*\n.*last checkpoint; `--no-spot`"),
        ("MaxRuntimeExceeded", "", r"training\.max_runtime_minutes"),
        ("Stopped", "", "ended as Stopped: no reason given"),
    ],
)
def test_a_job_without_a_model_is_reported_with_reason_and_fix(
    sagemaker: Stubber, config: EnvironmentConfig, status: str, reason: str, expected: str
) -> None:
    job = _description("Failed" if status == "Failed" else "Stopped", status, FailureReason=reason)
    sagemaker.add_response("describe_training_job", job)
    with pytest.raises(TrainingError, match=expected):
        wait_for_job(config, JOB, lambda _: None)


def test_a_job_without_an_instance_names_its_type(sagemaker: Stubber, config: EnvironmentConfig) -> None:
    reason = "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different one."
    sagemaker.add_response("describe_training_job", _description("Failed", "Failed", FailureReason=reason))
    with pytest.raises(InstanceRefusedError) as caught:
        wait_for_job(config, JOB, lambda _: None)
    assert (caught.value.instance_type, caught.value.reason) == ("ml.p3.2xlarge", reason)


def test_only_jobs_of_this_environment_are_followed(cloud: str, config: EnvironmentConfig) -> None:
    for name in ("scones-dev-x-01234567-89abcdef-1", "scones-prod-01234567-89abcdef-1", "", "my-job"):
        with pytest.raises(TrainingError, match="no job of environment 'dev'"):
            wait_for_job(config, name, lambda _: None)


def test_a_job_that_does_not_exist_is_named(sagemaker: Stubber, config: EnvironmentConfig) -> None:
    sagemaker.add_client_error("describe_training_job", "ValidationException", "Requested resource not found.")
    with pytest.raises(
        TrainingError, match=f"there is no training job {JOB} in AWS .account 123456789012, region us-east-1"
    ):
        wait_for_job(config, JOB, lambda _: None)


def test_the_view_shows_time_and_accuracy() -> None:
    state = JobState(
        name=JOB,
        status="InProgress",
        secondary_status="Training",
        message="in [progress]",
        instance_type="ml.p3.2xlarge",
        training_seconds=99,
        billable_seconds=41,
        accuracies={0: 0.5, 1: 0.875, 2: 0.75},
        failure_reason="",
        artifact_uri="",
    )
    console = Console(width=120)
    with console.capture() as captured:
        console.print(job_table(state))
    text = captured.get()
    assert "InProgress: Training  in [progress]" in text
    assert "99 s on ml.p3.2xlarge, 41 s billable" in text
    assert "0.750 in epoch 2, best 0.875 in epoch 1" in text
    assert accuracy_bars([0, 0.5, 0.999, 1.0]) == "▁▅██"
    assert len(accuracy_bars([0.5] * 500)) == 60


# Handing over


def _publish(config: EnvironmentConfig, manifest: Path) -> TrainedModel:
    aws.s3().put_object(
        Bucket="scones-dev-data", Key=f"models/{JOB}/manifest.json", Body=(manifest / "manifest.json").read_bytes()
    )
    return publish_model(config, job_state(JOB))


def test_a_model_is_published_with_its_origin(folder: Path, sagemaker: Stubber, config: EnvironmentConfig) -> None:
    _write_log([f"Epoch[{epoch}] Validation-accuracy={value}" for epoch, value in enumerate((0.5, 0.9, 0.8))])
    metrics = [{"MetricName": "validation:accuracy", "Value": 0.8}, {"MetricName": "train:accuracy", "Value": 1.0}]
    for _ in range(4):
        sagemaker.add_response(
            "describe_training_job", _description("Completed", "Completed", FinalMetricDataList=metrics)
        )
    _publish(config, folder)
    _publish(config, folder)
    ssm = aws.ssm()
    artifact = ssm.get_parameter(Name="/scones/dev/model/artifact-uri")["Parameter"]
    assert artifact["Value"] == f"s3://b/models/{JOB}/output/model.tar.gz"
    assert artifact["Version"] == 1, "publishing again changes nothing"
    assert json.loads(ssm.get_parameter(Name="/scones/dev/model/metadata")["Parameter"]["Value"]) == {
        "job": JOB,
        "artifact_uri": artifact["Value"],
        "accuracy": 0.9,
        "classes": ["bicycle", "motorcycle"],
        "data_digest": json.loads((folder / "manifest.json").read_text())["data_digest"],
        "image": IMAGE,
        "hyperparameters": {"epochs": "2"},
    }
    assert ssm.get_parameter(Name="/scones/dev/model/algorithm")["Parameter"]["Value"] == "image-classification"


def test_a_new_model_replaces_the_one_before(folder: Path, sagemaker: Stubber, config: EnvironmentConfig) -> None:
    ssm = aws.ssm()
    ssm.put_parameter(Name=config.artifact_parameter, Value="s3://b/old", Type="String")
    for _ in range(2):
        sagemaker.add_response("describe_training_job", _description("Completed", "Completed"))
    assert _publish(config, folder).accuracy is None
    assert ssm.get_parameter(Name=config.artifact_parameter)["Parameter"]["Value"].startswith("s3://b/models/")


def test_a_model_of_other_classes_is_not_handed_over(folder: Path, sagemaker: Stubber) -> None:
    for _ in range(2):
        sagemaker.add_response("describe_training_job", _description("Completed", "Completed"))
    turned = parse_environment("dev", {"classes": ["motorcycle", "bicycle"]})
    with pytest.raises(TrainingError, match="was trained on bicycle, motorcycle, but environment 'dev' has motorcycle"):
        _publish(turned, folder)
    assert aws.ssm().describe_parameters()["Parameters"] == []
