"""The stand-in refuses the requests that SageMaker refuses."""

import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.sagemaker import cloudformation, deployment, serverless
from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.errors import ApiError
from local.sagemaker.serverless import Containers

ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"
MODEL = {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "i", "ModelDataUrl": "s3://b/k"}}


@pytest.fixture
def control_plane(tmp_path: Path) -> ControlPlane:
    return ControlPlane(cache=tmp_path)


def test_a_resource_is_described_as_it_was_created(control_plane: ControlPlane) -> None:
    control_plane.call("CreateModel", MODEL)
    described = control_plane.call("DescribeModel", {"ModelName": "m"})
    assert described["ModelArn"] == "arn:aws:sagemaker:us-east-1:000000000000:model/m"
    assert described["PrimaryContainer"] == MODEL["PrimaryContainer"]


@pytest.mark.parametrize(
    ("operation", "request_", "message"),
    [
        ("CreateModel", {"ExecutionRoleArn": ROLE}, 'Missing required parameter in input: "ModelName"'),
        ("CreateModel", {"ModelName": "m", "Colour": 1}, 'Unknown parameter in input: "Colour"'),
        (
            "CreateModel",
            {**MODEL, "ModelName": "cut-at-a-"},
            "^1 validation error detected: Value 'cut-at-a-' at 'modelName' failed to satisfy constraint: Member must",
        ),
        ("DescribeModel", {"ModelName": "absent"}, "Could not find model"),
        ("DeleteEndpoint", {"EndpointName": "absent"}, "Could not find endpoint"),
        ("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "absent"}, "Could not find endpoint-config"),
        ("CreateNotebookInstance", {}, "has no CreateNotebookInstance"),
        ("shut_down", {}, "has no shut_down"),
    ],
)
def test_a_bad_request_is_refused(
    control_plane: ControlPlane, operation: str, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(ApiError, match=message):
        control_plane.call(operation, request_)


def test_a_name_is_given_once(control_plane: ControlPlane) -> None:
    control_plane.call("CreateModel", MODEL)
    with pytest.raises(ApiError, match="already existing model"):
        control_plane.call("CreateModel", MODEL)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("EnableNetworkIsolation", False),
        ("ExecutionRoleArn", ROLE),
        ("VpcConfig", {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}),
    ],
)
def test_an_endpoint_config_of_models_leaves_to_them_what_is_theirs(
    control_plane: ControlPlane, setting: str, value: Any
) -> None:
    control_plane.call("CreateModel", MODEL)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    request = {"EndpointConfigName": "c", "ProductionVariants": [variant]}
    with pytest.raises(ApiError, match=f"{setting} is only supported for inference component endpoints"):
        control_plane.call("CreateEndpointConfig", {**request, setting: value})
    control_plane.call("CreateEndpointConfig", request)


@pytest.mark.parametrize(
    ("isolation", "capture", "is_refused"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_a_serverless_endpoint_has_neither_network_isolation_nor_data_capture(
    control_plane: ControlPlane, isolation: bool, capture: bool, is_refused: bool
) -> None:
    control_plane.call("CreateModel", {**MODEL, "EnableNetworkIsolation": isolation})
    serverless = {"MaxConcurrency": 1, "MemorySizeInMB": 2048}
    data_capture = {
        "EnableCapture": capture,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://b/c",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    request = {
        "EndpointConfigName": "c",
        "ProductionVariants": [{"VariantName": "v", "ModelName": "m", "ServerlessConfig": serverless}],
        "DataCaptureConfig": data_capture,
    }
    with pytest.raises(ApiError, match="neither network isolation nor data capture") if is_refused else nullcontext():
        control_plane.call("CreateEndpointConfig", request)


SERVERLESS = {"MaxConcurrency": 2, "MemorySizeInMB": 2048}


def variant(**capacity: Any) -> dict[str, Any]:
    return {"VariantName": "v", "ModelName": "m", **(capacity or {"ServerlessConfig": SERVERLESS})}


def on_instances() -> dict[str, Any]:
    return variant(InstanceType="ml.m5.large", InitialInstanceCount=1)


@pytest.mark.parametrize(
    ("model", "variants", "message"),
    [
        ({"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["s-1"]}}, [variant()], "do not support VPC"),
        ({}, [variant(), {**variant(), "VariantName": "w"}], "have one production variant"),
    ],
)
def test_a_serverless_endpoint_has_no_network_of_ones_own_and_no_second_variant(
    control_plane: ControlPlane, model: dict[str, Any], variants: list[dict[str, Any]], message: str
) -> None:
    control_plane.call("CreateModel", {**MODEL, **model})
    with pytest.raises(ApiError, match=message):
        control_plane.call("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": variants})


@pytest.fixture
def settled(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    """Endpoints come into service at once, without a model being loaded."""

    def move(name: str, source: Any, _deployment: Any, _config: Any = None) -> None:
        record = control_plane._endpoint_records[name]
        record.update(EndpointStatus="InService", EndpointConfigName=source["endpoint_config"]["EndpointConfigName"])
        record.pop("PendingDeploymentSummary", None)

    monkeypatch.setattr(control_plane, "_in_background", lambda _move, *arguments: move(*arguments))
    control_plane.call("CreateModel", MODEL)
    for name, made in (("instances", on_instances()), ("serverless", variant())):
        control_plane.call("CreateEndpointConfig", {"EndpointConfigName": name, "ProductionVariants": [made]})
    return control_plane


def test_an_endpoint_on_instances_never_becomes_serverless_and_a_serverless_one_has_no_guardrails(
    settled: ControlPlane,
) -> None:
    for name in ("instances", "serverless"):
        settled.call("CreateEndpoint", {"EndpointName": name, "EndpointConfigName": name})
    to_serverless = {"EndpointConfigName": "serverless"}
    with pytest.raises(ApiError, match="updating it to a serverless endpoint is not supported"):
        settled.call("UpdateEndpoint", {"EndpointName": "instances", **to_serverless})
    with pytest.raises(ApiError, match="DeploymentConfig is not supported for serverless endpoints"):
        settled.call(
            "UpdateEndpoint", {"EndpointName": "serverless", **to_serverless, "DeploymentConfig": deployment.AT_ONCE}
        )
    settled.call("CreateEndpointConfig", {"EndpointConfigName": "another", "ProductionVariants": [variant()]})
    settled.call("UpdateEndpoint", {"EndpointName": "serverless", "EndpointConfigName": "another"})
    settled.call("UpdateEndpoint", {"EndpointName": "serverless", "EndpointConfigName": "instances"})


def test_an_endpoint_is_not_updated_with_the_config_that_it_has(settled: ControlPlane) -> None:
    settled.call("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "instances"})
    message = 'Cannot update endpoint with the currently in use endpoint configuration "instances"'
    with pytest.raises(ApiError, match=message):
        settled.call("UpdateEndpoint", {"EndpointName": "e", "EndpointConfigName": "instances"})


def test_a_serverless_endpoint_is_described_by_its_capacity(settled: ControlPlane) -> None:
    settled.call("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "serverless"})
    (described,) = settled.call("DescribeEndpoint", {"EndpointName": "e"})["ProductionVariants"]
    assert described["CurrentServerlessConfig"] == SERVERLESS
    assert "CurrentInstanceCount" not in described


def test_a_container_starts_for_a_request_stays_for_the_next_and_ends_when_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=slept.append)
    monkeypatch.setattr("local.sagemaker.serverless.time", clock)
    containers = Containers(SERVERLESS)
    with containers.container(b""):
        pass
    with containers.container(b""):
        assert len(slept) == 1
        with containers.container(b""):  # at the same time: it takes a second container
            assert len(slept) == 2
    monkeypatch.setattr(serverless, "KEPT_SECONDS", 0.0)
    with containers.container(b""):
        assert len(slept) == 3


def test_requests_beyond_the_concurrency_are_throttled_and_large_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverless, "COLD_START_SECONDS", 0.0)
    containers = Containers({**SERVERLESS, "MaxConcurrency": 1})
    with containers.container(b""), pytest.raises(ApiError) as refused, containers.container(b""):
        pass
    assert (refused.value.code, refused.value.status) == ("ThrottlingException", 429)
    with pytest.raises(ApiError, match="takes at most 4194304"), containers.container(bytes(4 * 2**20 + 1)):
        pass
    with containers.container(b""):
        pass  # what was refused holds no container


TRAINING_JOB = {
    "TrainingJobName": "t",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://b/models/"},
    "ResourceConfig": {"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
TRANSFORM_JOB = {
    "TransformJobName": "t",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/i"}}},
    "TransformOutput": {"S3OutputPath": "s3://b/o"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}


@pytest.mark.parametrize(
    ("operation", "request_"), [("CreateTrainingJob", TRAINING_JOB), ("CreateTransformJob", TRANSFORM_JOB)]
)
@pytest.mark.parametrize("status", ["InProgress", "Completed", "Failed", "Stopped"])
def test_the_name_of_a_job_stays_taken_however_it_ended(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, operation: str, request_: dict[str, Any], status: str
) -> None:
    monkeypatch.setattr(ControlPlane, "_in_background", lambda *_: None)
    control_plane.call("CreateModel", MODEL)
    control_plane.call(operation, request_)
    kind = operation.removeprefix("Create")
    (job,) = [*control_plane._training_jobs.values(), *control_plane._transform_jobs.values()]
    job[f"{kind}Status"] = status
    with pytest.raises(ApiError, match=r"must be unique within an AWS account and region.* already exists") as caught:
        control_plane.call(operation, request_)
    assert caught.value.code == "ResourceInUse"


def test_the_names_of_models_endpoint_configs_and_endpoints_are_free_again(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ControlPlane, "_in_background", lambda *_: None)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    for _ in range(2):
        control_plane.call("CreateModel", MODEL)
        control_plane.call("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [variant]})
        control_plane.call("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"})
        control_plane.call("DeleteEndpoint", {"EndpointName": "e"})
        control_plane.call("DeleteEndpointConfig", {"EndpointConfigName": "c"})
        control_plane.call("DeleteModel", {"ModelName": "m"})


def test_an_endpoint_is_created_without_what_is_for_its_updates() -> None:
    properties = {"EndpointName": "e", "EndpointConfigName": "c", "RetainAllVariantProperties": True}
    with pytest.raises(ValueError, match="RetainAllVariantProperties: only for updates"):
        cloudformation._create_endpoint("Endpoint", properties, "stack")
