"""The functions that change the model in service, against the stand-in's control plane, without a socket.

Requests pass botocore's checks twice: in the client, and in the stand-in.
"""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from lambda_src.model import release_log
from lambda_src.retraining import (
    evaluate_models,
    prepare_evaluation,
    prepare_rollback,
    prepare_training,
    record_release,
    release,
    release_model,
    restore_endpoint,
    smoke_test,
)
from lambda_src.retraining.errors import (
    EndpointBusyError,
    EndpointNotServingError,
    NoEarlierReleaseError,
    NotReleasedError,
    SmokeTestFailedError,
    TrainingJobMissingError,
    TransformOutputError,
)
from lambda_src.shared import aws, settings
from lambda_src.shared.algorithms import SCIKIT_LEARN
from lambda_src.shared.release_history import Record, records
from local import clock
from local.sagemaker import deployment, endpoint, storage
from local.sagemaker.api.models import OF_INFERENCE_COMPONENTS
from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.errors import JobFailedError
from tests.unit.lambda_src.retraining.data_set import BUCKET, SETTINGS, STAGE, DataSet
from tests.unit.stand_in import client_for, client_of
from tests.unit.stored import create_bucket, place

ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"
DIGEST = "d" * 64
OLD, NEW = (f"{STAGE}-{digit * 8}-abcdef01-1" for digit in "12")
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": f"s3://{BUCKET}/data-capture",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
}
IMAGE = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"
OTHER_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
KEY = "arn:aws:kms:us-east-1:000000000000:key/1"
NETWORK = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}


def artifact(job: str) -> str:
    return f"s3://{BUCKET}/models/{job}/output/model.tar.gz"


@dataclass
class World:
    """An endpoint that serves OLD, a completed training job NEW, and the alarms that CloudWatch would show."""

    plane: ControlPlane
    s3: Any
    ssm: Any
    alarms: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def settle(self) -> dict[str, Any]:
        """The endpoint, when it has come to rest."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            described = self.plane.call("DescribeEndpoint", {"EndpointName": STAGE})
            if described["EndpointStatus"] not in {"Creating", "Updating"}:
                return described
            time.sleep(0.02)
        raise AssertionError("the endpoint does not come to rest")

    def add_job(self, name: str, status: str = "Completed", image: str = IMAGE) -> None:
        self.plane._training_jobs[name] = {
            "TrainingJobName": name,
            "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}",
            "TrainingJobStatus": status,
            "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
            "HyperParameters": {"epochs": "1"},
            "ModelArtifacts": {"S3ModelArtifacts": artifact(name)},
            "FinalMetricDataList": [{"MetricName": "validation:accuracy", "Value": 0.9, "Timestamp": 0}],
            "CreationTime": 0,
        }


class _Container:
    """Answers by the artifact: what OLD doubts NEW is sure of. The artifact of `broken` cannot be loaded."""

    def __init__(self, _artifact: bytes, definition: dict[str, Any]) -> None:
        uri = definition["ModelDataUrl"]
        if "broken" in uri:
            raise JobFailedError(f"{uri} cannot be loaded")
        self.answer = [0.9, 0.1] if "-22222222-" in uri else [0.7, 0.3]

    def invocations(self, _body: bytes, **_: str) -> bytes:
        return json.dumps(self.answer).encode()


class _Writer:
    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def record(self, **_: Any) -> None:
        pass

    def invoked(self, **_: Any) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, retraining_settings: None) -> Iterator[World]:
    with mock_aws():
        s3, ssm = client_for("s3"), client_for("ssm")
        create_bucket(BUCKET)
        events: list[dict[str, Any]] = []
        plane = ControlPlane(cache=tmp_path, emit=lambda kind, detail: events.append({"kind": kind, "detail": detail}))
        world = World(plane, s3, ssm, {"scones-dev-update-errors": "OK"}, events)
        monkeypatch.setattr(endpoint, "Container", _Container)
        monkeypatch.setattr(endpoint, "CaptureWriter", _Writer)
        monkeypatch.setattr(endpoint, "EndpointMetrics", _Writer)
        monkeypatch.setattr(storage, "as_role", lambda _: s3)
        monkeypatch.setattr(storage, "read", lambda *_: b"")
        monkeypatch.setattr(
            deployment.Deployment,
            "_states",
            lambda self: {name: world.alarms[name] for name in self._alarms if name in world.alarms},
        )
        monkeypatch.setattr(clock, "SCALE", 0)
        client = client_of(plane)
        for name, fake in {"sagemaker": client, "s3": s3, "ssm": ssm}.items():
            monkeypatch.setattr(aws, name, lambda fake=fake: fake)
        model = {"Image": IMAGE, "ModelDataUrl": artifact(OLD)}
        client.create_model(
            ModelName="cfn-model",
            ExecutionRoleArn=ROLE,
            PrimaryContainer=model,
            VpcConfig=NETWORK,
            EnableNetworkIsolation=True,
        )
        client.create_endpoint_config(
            EndpointConfigName="cfn-config",
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": "cfn-model",
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 1,
                }
            ],
            DataCaptureConfig=CAPTURE,
            KmsKeyId=KEY,
        )
        client.create_endpoint(EndpointName=STAGE, EndpointConfigName="cfn-config")
        world.settle()
        for job in (OLD, NEW):
            world.add_job(job)
        ssm.put_parameter(Name=SETTINGS["artifact_parameter"], Value=artifact(OLD), Type="String")
        ssm.put_parameter(Name=SETTINGS["algorithm_parameter"], Value="image-classification", Type="String")
        ssm.put_parameter(Name=SETTINGS["metadata_parameter"], Value="{}", Type="String")
        DataSet.of().store()
        yield world


def named(world: World) -> str:
    return str(world.ssm.get_parameter(Name=SETTINGS["artifact_parameter"])["Parameter"]["Value"])


def served_by(world: World) -> str:
    """The algorithm that a deployment would serve it by."""
    return str(world.ssm.get_parameter(Name=SETTINGS["algorithm_parameter"])["Parameter"]["Value"])


def move(world: World, job: str, run: str = "run00001", *, rollback: bool = False) -> dict[str, Any]:
    """Bring a job's model to the endpoint, and wait for what comes of it."""
    prepared = prepare_evaluation.handler({"job": job}, None)
    event = {"run": run, "model": prepared["candidate"]["model"], "rollback": rollback}
    return {**prepared, "release": release_model.handler(event, None), "endpoint": world.settle()}


# A release


def test_a_release_keeps_the_instances_that_autoscaling_gave(world: World) -> None:
    aws.sagemaker().update_endpoint_weights_and_capacities(
        EndpointName=STAGE, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}]
    )
    assert move(world, NEW)["endpoint"]["ProductionVariants"][0]["DesiredInstanceCount"] == 3


@pytest.mark.parametrize(
    ("retained", "excluded", "message"),
    [
        (False, "DesiredWeight", "for updates with RetainAllVariantProperties only"),
        (True, "DataCaptureConfig", "DataCaptureConfig is not currently supported"),
    ],
)
def test_an_update_excludes_from_what_it_keeps_only_what_is_documented(
    world: World, retained: bool, excluded: Any, message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        aws.sagemaker().update_endpoint(
            EndpointName=STAGE,
            EndpointConfigName="cfn-config",
            RetainAllVariantProperties=retained,
            ExcludeRetainedVariantProperties=[{"VariantPropertyType": excluded}],
        )


@pytest.mark.parametrize("rollback", [False, True])
def test_a_release_to_a_serverless_endpoint_moves_and_keeps_no_instances(
    world: World, monkeypatch: pytest.MonkeyPatch, rollback: bool
) -> None:
    monkeypatch.setattr(settings, "deployment_config", lambda: None)
    requests: list[dict[str, Any]] = []
    monkeypatch.setattr(aws.sagemaker(), "update_endpoint", lambda **request: requests.append(request))
    move(world, NEW, rollback=rollback)
    (request,) = requests
    assert set(request) == {"EndpointName", "EndpointConfigName"}


def test_a_release_serves_the_model_and_changes_nothing_else(world: World) -> None:
    moved = move(world, NEW)
    assert moved["incumbent"]["job"] == OLD
    assert (moved["is_served"], moved["is_released"]) == (False, False)
    assert moved["endpoint"]["EndpointConfigName"] == moved["release"]["endpoint_config"] == f"{NEW}-run00001"
    served = release.served()
    assert served.artifact_uri == artifact(NEW)
    assert served.endpoint_config["DataCaptureConfig"] == CAPTURE
    assert served.endpoint_config["KmsKeyId"] == KEY
    (variant,) = served.endpoint_config["ProductionVariants"]
    assert (variant["VariantName"], variant["InstanceType"]) == ("AllTraffic", "ml.m5.large")
    assert served.model["ExecutionRoleArn"] == ROLE
    assert (served.model["VpcConfig"], served.model["EnableNetworkIsolation"]) == (NETWORK, True)


def test_a_model_from_before_the_settings_changed_is_not_served_again(world: World) -> None:
    """As that of a serverless endpoint is not isolated, and no serverless endpoint takes one that is."""
    container: Any = {"Image": IMAGE, "ModelDataUrl": artifact(NEW)}
    aws.sagemaker().create_model(ModelName=NEW, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    for _ in range(2):
        moved = move(world, NEW)
        assert moved["candidate"]["model"] == f"{NEW}-2"
        assert (moved["candidate"]["job"], release.served().artifact_uri) == (NEW, artifact(NEW))
        assert release.served().model["EnableNetworkIsolation"]


@pytest.mark.parametrize(
    ("operation", "copied", "not_copied"),
    [
        ("CreateModel", release.MODEL_SETTINGS, {"Containers", "InferenceExecutionConfig", "PrimaryContainer"}),
        ("CreateEndpointConfig", release.CONFIG_SETTINGS, {"ProductionVariants", *OF_INFERENCE_COMPONENTS}),
    ],
)
def test_a_release_copies_every_member_that_the_request_accepts(
    operation: str, copied: tuple[str, ...], not_copied: set[str]
) -> None:
    """A new member of the API is decided on here, and nothing is copied that only a description has."""
    service = botocore.session.get_session().get_service_model("sagemaker")
    taken: Any = service.operation_model(operation).input_shape
    told: Any = service.operation_model(operation.replace("Create", "Describe")).output_shape
    name = f"{operation.removeprefix('Create')}Name"
    assert set(taken.members) == {*copied, *not_copied, name, "Tags"}
    for shape in (taken, told):
        assert set(copied) <= set(shape.members)
    if operation == "CreateEndpointConfig":  # each variant is copied whole
        assert told.members["ProductionVariants"].member.name == taken.members["ProductionVariants"].member.name


def test_every_step_can_be_done_again(world: World) -> None:
    """As after a crash in the middle, or when Step Functions retries."""
    first = move(world, NEW)
    again = move(world, NEW)
    assert again["is_served"]
    assert not again["is_released"]
    assert again["release"]["endpoint_config"] == first["release"]["endpoint_config"]
    assert [record_release.handler({"job": NEW}, None)["job"] for _ in range(2)] == [NEW, NEW]
    assert prepare_evaluation.handler({"job": NEW}, None)["is_released"]


def test_the_parameters_name_what_is_served(world: World) -> None:
    move(world, NEW)
    release.store_json(f"models/{NEW}/manifest.json", {"classes": SETTINGS["classes"], "data_digest": DIGEST})
    release.store_json(f"models/{NEW}/evaluation.json", {"accuracy": 0.95})
    metadata = record_release.handler({"job": NEW}, None)
    assert (metadata["accuracy"], metadata["data_digest"]) == (0.95, DIGEST)
    assert named(world) == artifact(NEW) == release.served().artifact_uri
    baseline = world.ssm.get_parameter(Name=SETTINGS["baseline_parameter"])["Parameter"]["Value"]
    assert baseline == f"models/{NEW}/baseline.json", "also before it is there: another model's would mean nothing"


def test_a_release_by_another_algorithm_and_the_way_back_bring_its_container_along(world: World) -> None:
    world.add_job(NEW, image=OTHER_IMAGE)
    move(world, NEW)
    record_release.handler({"job": NEW}, None)
    container = release.served().model["PrimaryContainer"]
    assert (container["Image"], container["ModelDataUrl"]) == (OTHER_IMAGE, artifact(NEW))
    assert container["Environment"] == SCIKIT_LEARN.serving_environment
    assert (named(world), served_by(world)) == (artifact(NEW), "scikit-learn"), "what the next deployment reads"
    assert prepare_evaluation.handler({"job": NEW}, None)["candidate"]["container"] == {
        "Image": OTHER_IMAGE,
        "Environment": SCIKIT_LEARN.serving_environment,
    }, "what the Model Registry is told"

    move(world, OLD, run="run00002", rollback=True)
    record_release.handler({"job": OLD}, None)
    container = release.served().model["PrimaryContainer"]
    assert (container["Image"], container["ModelDataUrl"]) == (IMAGE, artifact(OLD))
    assert not container.get("Environment"), "the other container's variables are none of this one's"
    assert (named(world), served_by(world)) == (artifact(OLD), "image-classification")


def test_a_model_of_an_unknown_container_is_not_served(world: World) -> None:
    world.add_job(NEW, image="123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1")
    with pytest.raises(ValueError, match=r"own:1 is the image of neither algorithm: its repository must be "):
        move(world, NEW)


def test_either_all_parameters_change_or_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add_job(NEW, image=OTHER_IMAGE)
    put = record_release._put

    def refuse_the_artifact(name: str, value: str) -> None:
        if name == SETTINGS["artifact_parameter"]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutParameter")
        put(name, value)

    monkeypatch.setattr(record_release, "_put", refuse_the_artifact)
    with pytest.raises(ClientError):
        record_release.handler({"job": NEW}, None)
    assert world.ssm.get_parameter(Name=SETTINGS["metadata_parameter"])["Parameter"]["Value"] == "{}"
    assert named(world) == artifact(OLD)
    assert served_by(world) == "image-classification"


def test_an_alarm_rolls_the_endpoint_back(world: World) -> None:
    world.alarms["scones-dev-update-errors"] = "ALARM"
    moved = move(world, NEW)
    assert moved["endpoint"]["EndpointStatus"] == "InService"
    assert moved["endpoint"]["EndpointConfigName"] == "cfn-config"
    assert "scones-dev-update-errors" in moved["endpoint"]["FailureReason"]
    assert release.served().artifact_uri == artifact(OLD)


def test_a_model_that_does_not_load_leaves_what_was_served(world: World) -> None:
    world.add_job(f"{STAGE}-broken")
    moved = move(world, f"{STAGE}-broken")
    assert moved["endpoint"]["EndpointConfigName"] == "cfn-config"
    assert "cannot be loaded" in moved["endpoint"]["FailureReason"]


def test_a_rollback_is_not_held_up_by_the_alarms_of_the_model_that_it_replaces(world: World) -> None:
    world.alarms["scones-dev-update-errors"] = "ALARM"
    assert move(world, NEW, rollback=True)["endpoint"]["EndpointConfigName"] == f"{NEW}-run00001"


def test_restoring_returns_to_the_previous_config_and_can_be_repeated(world: World) -> None:
    previous = move(world, NEW)["release"]["previous"]
    for _ in range(2):
        assert restore_endpoint.handler({"previous": previous}, None) == {"endpoint_config": "cfn-config"}
        assert world.settle()["EndpointConfigName"] == "cfn-config"


def test_an_endpoint_on_the_move_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(deployment.Deployment, "_bake", lambda *_: over.wait(60))
    prepared = prepare_evaluation.handler({"job": NEW}, None)
    release_model.handler({"run": "r", "model": prepared["candidate"]["model"], "rollback": False}, None)
    with pytest.raises(EndpointBusyError, match=f"{STAGE} is Updating"):
        prepare_evaluation.handler({"job": NEW}, None)
    over.set()
    world.settle()


def test_a_missing_job_or_endpoint_is_named(world: World) -> None:
    with pytest.raises(TrainingJobMissingError, match="there is no training job absent"):
        prepare_evaluation.handler({"job": "absent"}, None)
    world.add_job("going", status="InProgress")
    with pytest.raises(TrainingJobMissingError, match="going is InProgress"):
        prepare_evaluation.handler({"job": "going"}, None)
    world.plane.call("DeleteEndpoint", {"EndpointName": STAGE})
    with pytest.raises(EndpointNotServingError, match="does not exist: deploy the model stack first"):
        prepare_evaluation.handler({"job": NEW}, None)


# Training jobs


def test_the_manifest_of_the_training_data_is_stored_with_the_model(world: World) -> None:
    event = {"data_digest": DIGEST}
    base = f"{STAGE}-dddddddd-abcdef01"
    assert prepare_training.handler(event, None) == {"job": f"{base}-1", "status": "New"}
    kept = release.stored_json(f"models/{base}-1/manifest.json")
    assert kept == {"classes": SETTINGS["classes"], "data_digest": DIGEST}
    world.add_job(f"{base}-1", status="InProgress")
    assert prepare_training.handler(event, None) == {"job": f"{base}-1", "status": "InProgress"}


# The smoke test


@pytest.fixture
def runtime(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """InvokeEndpoint, answered by what the stand-in's endpoint serves."""

    def ask(body: bytes, endpoint_name: str, _image: Any) -> bytes:
        served = world.plane.endpoints[endpoint_name]
        variant, fault = served.next_request(None)
        answer, _ = served.invoke(
            variant, body, content_type="application/x-image", inference_id=None, fault=fault
        )  # fmt: skip
        return answer

    monkeypatch.setattr(smoke_test, "invoke_endpoint", ask)


def known(world: World, probabilities: list[float]) -> None:
    image = {"key": "test/test_0.png", "label": 0, "probabilities": probabilities}
    release.store_json(f"models/{NEW}/smoke_test.json", {"images": [image]})


def test_the_released_model_repeats_its_known_predictions(world: World, runtime: None) -> None:
    move(world, NEW)
    known(world, [0.905, 0.095])
    assert smoke_test.handler({"job": NEW}, None) == {"images": 1}


def test_predictions_of_another_model_fail_the_smoke_test(world: World, runtime: None) -> None:
    known(world, [0.9, 0.1])  # but OLD is served
    with pytest.raises(
        SmokeTestFailedError, match=r"test/test_0.png: the endpoint's probabilities differ from those of"
    ):
        smoke_test.handler({"job": NEW}, None)


def test_a_model_without_known_predictions_must_be_better_than_chance(world: World, runtime: None) -> None:
    """The container always says class 0, which is half of the images."""
    with pytest.raises(SmokeTestFailedError, match="predicts only 2 of 4 validation images correctly"):
        smoke_test.handler({"job": NEW}, None)


# The evaluation


def outputs(world: World, role: str, answers: list[list[float]]) -> dict[str, str]:
    for index, answer in enumerate(answers):
        body = json.dumps({"prediction": answer}).encode()
        place(BUCKET, f"retraining/r/{role}/test_{index}.png.out", body)
    job = NEW if role == "candidate" else OLD
    return {"job": job, "artifact_uri": artifact(job), "output": f"retraining/r/{role}/"}


RIGHT = [[0.9, 0.1], [0.1, 0.9], [0.8, 0.2], [0.2, 0.8]]
WRONG = [[0.1, 0.9], [0.1, 0.9], [0.8, 0.2], [0.2, 0.8]]


def test_both_models_are_judged_on_the_same_images(world: World) -> None:
    event = {"candidate": outputs(world, "candidate", WRONG), "incumbent": outputs(world, "incumbent", RIGHT)}
    found = evaluate_models.handler(event, None)
    assert (found["candidate"]["accuracy"], found["incumbent"]["accuracy"]) == (0.75, 1.0)
    assert len(found["reasons"]) == 3
    assert (release.stored_json(f"models/{OLD}/evaluation.json") or {})["accuracy"] == 1.0
    predictions = (release.stored_json(f"models/{NEW}/predictions.json") or {})["images"]
    assert [prediction["probabilities"] for prediction in predictions] == WRONG
    kept = (release.stored_json(f"models/{NEW}/smoke_test.json") or {})["images"]
    assert {image["key"] for image in kept} == {f"test/test_{index}.png" for index in (1, 2, 3)}
    assert release.stored_json(f"models/{NEW}/baseline.json") is None, "four answers are no baseline"


def test_the_gate_names_the_class_and_the_source_on_which_a_candidate_lost(world: World) -> None:
    """Eight original images, which the candidate loses, and twelve from reviews, which it gains."""
    paths = [f"test_{index}.png" for index in range(8)] + [f"reviewed/{index}.png" for index in range(12)]
    labels = [0] * 8 + [1] * 12
    lines = "".join(f"{i}\t{label}\t{path}\n" for i, (label, path) in enumerate(zip(labels, paths, strict=True)))
    place(BUCKET, "test_lst/test.lst", lines)
    event = {}
    for role, job, answer in (("candidate", NEW, [0.1, 0.9]), ("incumbent", OLD, [0.9, 0.1])):
        for path in paths:
            body = json.dumps({"prediction": answer}).encode()
            place(BUCKET, f"retraining/r/{role}/{path}.out", body)
        event[role] = {"job": job, "artifact_uri": artifact(job), "output": f"retraining/r/{role}/"}
    found = evaluate_models.handler(event, None)
    assert [reason for reason in found["reasons"] if " images of " in reason] == [
        "accuracy 0.0000 on the 8 images of class bicycle is more than 0.02 under the incumbent's 1.0000",
        "accuracy 0.0000 on the 8 images of source original is more than 0.02 under the incumbent's 1.0000",
    ]


def test_a_missing_prediction_is_an_error_and_not_a_wrong_prediction(world: World) -> None:
    event = {"candidate": outputs(world, "candidate", RIGHT[:3]), "incumbent": outputs(world, "incumbent", RIGHT)}
    with pytest.raises(TransformOutputError, match="no prediction in s3://the-bucket at retraining/r/candidate/test_3"):
        evaluate_models.handler(event, None)


# Rollback and the log of releases


def record(time_: str, job: str, status: str = "IN_SERVICE") -> Record:
    return Record(f"2030-01-01T{time_}+00:00", status, "config", "model", artifact(job))


@pytest.mark.parametrize(
    ("history", "served", "earlier"),
    [
        ("AB", "B", "A"),
        ("ABC", "C", "B"),
        ("ABA", "A", None),  # not forward again
        ("ABCB", "B", "A"),
        ("AABB", "B", "A"),  # deployments in between
        ("A", "A", None),
        ("A", "Z", "A"),  # served, but the log does not know it
    ],
)
def test_a_rollback_restores_the_model_before_the_first_release_of_the_current_one(
    history: str, served: str, earlier: str | None
) -> None:
    records = [record(f"00:00:{second:02}", job) for second, job in enumerate(history)]
    if earlier is None:
        with pytest.raises(NoEarlierReleaseError, match="--to"):
            prepare_rollback.earlier_job(records, served_job=served)
    else:
        assert prepare_rollback.earlier_job(records, served_job=served) == earlier


def test_a_rolled_back_update_is_not_a_release() -> None:
    history = [record("00:00:00", "A"), record("00:00:01", "B", "UPDATING"), record("00:00:02", "A")]
    with pytest.raises(NoEarlierReleaseError):
        prepare_rollback.earlier_job(history, served_job="A")


@pytest.mark.parametrize("job", ["B", "C", "never-released", "", {"job": "A"}, "x" * 10_000])
def test_a_rollback_accepts_only_models_that_the_endpoint_has_served(job: object) -> None:
    """B was on its way and came back; C is a job that the gate may have rejected."""
    history = [record("00:00:00", "A"), record("00:00:01", "B", "UPDATING"), record("00:00:02", "A")]
    prepare_rollback.check_released("A", history)
    with pytest.raises(NotReleasedError, match=r"was never released.* Released: A\. Anything else") as refused:
        prepare_rollback.check_released(job, history)
    assert len(str(refused.value)) < 2_000


def test_a_refused_rollback_names_the_newest_releases() -> None:
    history = [record(f"00:00:{second:02}", f"job-{second}") for second in range(12)]
    with pytest.raises(NotReleasedError, match=r"Released: job-11, job-10, .*, job-2 and 2 more\."):
        prepare_rollback.check_released("absent", history)


def test_a_job_that_was_never_released_gets_no_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_NAME", BUCKET)
    with pytest.raises(NotReleasedError, match=f"'{NEW}' was never released"):
        prepare_rollback.handler({"job": NEW}, None)
    with pytest.raises(ClientError, match="Could not find model"):
        aws.sagemaker().describe_model(ModelName=NEW)


def test_every_change_of_the_endpoint_is_logged_and_leads_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_NAME", BUCKET)
    move(world, NEW)
    deadline = time.monotonic() + 60
    while len(world.events) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    for event in [*world.events, *world.events]:  # each is delivered at least once
        assert event["kind"] == "SageMaker Endpoint State Change"
        release_log.handler(event, None)
    assert [(r.status, release.job_of(r.artifact_uri)) for r in records()] == [
        ("CREATING", OLD),
        ("IN_SERVICE", OLD),
        ("UPDATING", OLD),
        ("IN_SERVICE", NEW),
    ]
    found = prepare_rollback.handler({"job": ""}, None)
    assert found["candidate"]["job"] == OLD
    assert found["incumbent"]["job"] == NEW
    move(world, OLD, rollback=True)
    assert prepare_rollback.handler({"job": NEW}, None)["candidate"]["job"] == NEW, "released, so it may come back"


@pytest.mark.parametrize("status", ["DELETING", "Deleting", "DELETED"])
def test_an_endpoint_that_is_deleted_leaves_no_record(status: str) -> None:
    """By then CloudFormation may have deleted its endpoint config as well, and the event would be undeliverable."""
    detail = {"EndpointConfigName": "gone", "EndpointStatus": status, "LastModifiedTime": 0}
    assert release_log.handler({"detail": detail}, None) == {}
