"""`python -m ops destroy` asks first, empties the bucket completely, and continues from any state."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError
from moto import mock_aws

from data_prep import aws
from data_prep.target import Target
from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.errors import ApiError
from ops import cdk, destroy, templates
from ops.destroy import _delete_releases, empty_bucket
from ops.errors import OpsError
from ops.templates import Assembly, Template
from stacks.config import load_environment, parse_environment
from tests.unit.ops.conftest import deployed_stacks, run
from tests.unit.stored import create_bucket, place

TARGET = Target(account="123456789012", region="us-east-1", endpoint="https://cloudformation.us-east-1.amazonaws.com")


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(destroy, "current_target", lambda: TARGET)
    with mock_aws():
        yield


def test_an_emptied_bucket_holds_no_version_and_no_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = aws.s3()
    delete = s3.delete_objects
    deleted: list[int] = []

    def watched(**request: Any) -> Any:
        deleted.append(len(request["Delete"]["Objects"]))
        return delete(**request)

    monkeypatch.setattr(s3, "delete_objects", watched)
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    create_bucket("full", is_versioned=True)
    for number in range(1, 26):
        place("full", f"key with spaces/{number}", b"")
    place("full", "key with spaces/1", b"newer")
    s3.delete_object(Bucket="full", Key="key with spaces/2")
    empty_bucket("full")
    assert deleted == [10, 10, 7], "no more at once than a page has, as a deletion takes no more either"
    listing = s3.list_object_versions(Bucket="full")
    assert not listing.get("Versions")
    assert not listing.get("DeleteMarkers")
    s3.delete_bucket(Bucket="full")


def test_an_environment_that_is_not_deployed_cannot_be_destroyed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(aws, "cloudformation", lambda: deployed_stacks({"scones-dev-2-Data": {}}))
    assert run("destroy", "--env", "dev", "--yes") == 1
    assert capsys.readouterr().err == f"Error: environment 'dev' has no stack in {TARGET}: nothing to destroy\n"


def test_it_asks_first_and_accepts_only_the_name_as_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Knows how to list stacks only: anything more would fail
    monkeypatch.setattr(aws, "cloudformation", lambda: deployed_stacks({"scones-dev-Data": {"BucketName": "full"}}))

    def answer(question: str) -> str:
        assert f"from {TARGET}" in question
        return "yes"

    monkeypatch.setattr("typer.prompt", answer)
    assert run("destroy", "--env", "dev") == 1
    assert "nothing was destroyed" in capsys.readouterr().err


def test_models_and_endpoint_configs_of_releases_go_and_those_of_a_like_named_environment_stay() -> None:
    sagemaker = aws.sagemaker()
    for name, environment in (("scones-dev-1", "dev"), ("scones-dev-2", "dev"), ("scones-dev-2-1", "dev-2")):
        tags: Any = [
            {"Key": "application", "Value": "scones-unlimited"},
            {"Key": "environment", "Value": environment},
        ]
        sagemaker.create_model(
            ModelName=name, ExecutionRoleArn="arn:aws:iam::123456789012:role/any-role-at-all", Tags=tags
        )
        variant: Any = {"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)
    _delete_releases(load_environment("dev"))
    assert [model["ModelName"] for model in sagemaker.list_models()["Models"]] == ["scones-dev-2-1"]
    configs = sagemaker.list_endpoint_configs()["EndpointConfigs"]
    assert [config["EndpointConfigName"] for config in configs] == ["scones-dev-2-1"]


class Stacks:
    """CloudFormation with stacks in any state, and cdk, which deletes them but for those that it cannot."""

    def __init__(self, **statuses: str) -> None:
        self.statuses = statuses  # by stack, in the order of their creation
        self.undeletable: list[str] = []
        self.asked: list[tuple[str, ...]] = []
        self.resources: list[dict[str, str]] = []

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(
            paginate={"describe_stacks": self._stacks, "list_stack_resources": self._resources}[operation]
        )

    def _stacks(self) -> list[Any]:
        stacks = [
            {
                "StackName": f"scones-dev-{name}",
                "StackStatus": status,
                "CreationTime": datetime(2026, 1, 1, hour, tzinfo=UTC),
                "Outputs": [],
            }
            for hour, (name, status) in enumerate(self.statuses.items())
        ]
        return [{"Stacks": stacks}]

    def _resources(self, StackName: str) -> list[Any]:  # noqa: N803
        return [{"StackResourceSummaries": self.resources if StackName == "scones-dev-Data" else []}]

    def get_template(self, **_: str) -> Any:
        return {"TemplateBody": {"Resources": {}}}

    def delete_stack(self, StackName: str) -> None:  # noqa: N803
        name = StackName.removeprefix("scones-dev-")
        self.asked.append((f"{name}, by CloudFormation",))
        if name not in self.undeletable:
            del self.statuses[name]

    def get_waiter(self, _: str) -> Any:
        def wait(StackName: str) -> None:  # noqa: N803
            if StackName.removeprefix("scones-dev-") in self.statuses:
                raise WaiterError("StackDeleteComplete", "DELETE_FAILED", {})

        return SimpleNamespace(wait=wait)

    def run_cdk(self, command: str, *arguments: str, **_: object) -> None:
        if command != "destroy":
            return
        stacks = [argument.removeprefix("dev/") for argument in arguments if argument.startswith("dev/")]
        self.asked.append(tuple(stacks))
        for stack in reversed(stacks):  # the dependent ones first, as cdk does
            if stack in self.undeletable:
                self.statuses[stack] = "DELETE_FAILED"
                raise OpsError("`cdk destroy` ended with status 1")
            del self.statuses[stack]


def cloud(monkeypatch: pytest.MonkeyPatch, **statuses: str) -> Stacks:
    stacks = Stacks(**statuses)
    monkeypatch.setattr(aws, "cloudformation", lambda: stacks)
    monkeypatch.setattr(cdk, "run_cdk", stacks.run_cdk)
    known: dict[str, Template] = {f"dev/{name}": {} for name in ("Data", "Model", "Retraining", "Monitoring")}
    monkeypatch.setattr(templates, "read_assembly", lambda _: Assembly(known, {}))
    return stacks


@pytest.mark.parametrize(
    "status", ["CREATE_FAILED", "DELETE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"]
)
@pytest.mark.parametrize("data", ["--data", "--keep-data"])
def test_a_stack_in_any_state_is_deleted(monkeypatch: pytest.MonkeyPatch, status: str, data: str) -> None:
    stacks = cloud(monkeypatch, Data=status, Retraining=status, Monitoring="CREATE_COMPLETE")
    assert run("destroy", "--env", "dev", "--yes", data) == 0
    assert set(stacks.statuses) == (set() if data == "--data" else {"Data"})


@pytest.mark.parametrize(("policy", "left"), [("retain", {"Data"}), ("destroy", set())])
def test_without_an_explicit_choice_the_configuration_decides_on_the_data(
    monkeypatch: pytest.MonkeyPatch, policy: str, left: set[str]
) -> None:
    config = parse_environment("dev", {"removal_policy": policy})
    monkeypatch.setattr(destroy, "load_environment", lambda _: config)
    stacks = cloud(monkeypatch, Data="CREATE_COMPLETE", Model="CREATE_COMPLETE")
    assert run("destroy", "--env", "dev", "--yes") == 0
    assert set(stacks.statuses) == left


def test_buckets_that_are_gone_or_were_never_there_need_no_emptying(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = cloud(monkeypatch, Data="DELETE_FAILED")
    stacks.resources = [
        {"LogicalResourceId": "A", "PhysicalResourceId": "gone", "ResourceStatus": "DELETE_COMPLETE"},
        {"LogicalResourceId": "B", "ResourceStatus": "CREATE_FAILED"},
        {"LogicalResourceId": "C", "ResourceStatus": "DELETE_IN_PROGRESS"},
    ]
    for resource in stacks.resources:
        resource["ResourceType"] = "AWS::S3::Bucket"
    assert run("destroy", "--env", "dev", "--yes", "--data") == 0


def test_a_stack_that_cannot_be_deleted_does_not_keep_the_endpoint_which_costs_money(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = dict.fromkeys(["Data", "Model", "Retraining", "Monitoring"], "UPDATE_COMPLETE")
    stacks = cloud(monkeypatch, **states)
    stacks.undeletable = ["Retraining"]
    assert run("destroy", "--env", "dev", "--yes", "--data") == 1
    assert "could not destroy dev/Retraining: " in capsys.readouterr().err
    assert list(stacks.statuses) == ["Data", "Retraining"]
    assert stacks.asked[1:] == [("Retraining",), ("Model",)]

    stacks.undeletable = []
    assert run("destroy", "--env", "dev", "--yes", "--data") == 0
    assert not stacks.statuses


def test_a_stack_that_is_no_longer_configured_is_deleted_first_because_it_imports_from_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks = cloud(monkeypatch, Data="CREATE_COMPLETE", Model="CREATE_COMPLETE", DeployRole="CREATE_COMPLETE")
    stacks.undeletable = ["DeployRole"]
    assert run("destroy", "--env", "dev", "--yes", "--data") == 1
    assert "stack scones-dev-DeployRole could not be deleted: " in capsys.readouterr().err
    assert stacks.asked == [("DeployRole, by CloudFormation",)]

    stacks.undeletable = []
    assert run("destroy", "--env", "dev", "--yes", "--data") == 0
    assert stacks.asked[1:] == [("DeployRole, by CloudFormation",), ("Model",), ("Data",)]
    assert not stacks.statuses


def test_it_waits_for_operations_that_an_interrupted_deployment_left_in_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks = cloud(monkeypatch, Data="CREATE_COMPLETE", Model="CREATE_IN_PROGRESS")

    def sleep(_seconds: float) -> None:
        assert not stacks.asked
        stacks.statuses["Model"] = "CREATE_COMPLETE"

    monkeypatch.setattr("ops.destroy.time", SimpleNamespace(sleep=sleep))
    assert run("destroy", "--env", "dev", "--yes", "--data") == 0
    assert "Waiting for scones-dev-Model (CREATE_IN_PROGRESS)\n" in capsys.readouterr().out


def test_the_rest_is_deleted_after_all_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud(monkeypatch)
    aws.ssm().put_parameter(Name="/scones/dev/model/metadata", Value="{}", Type="String")
    assert run("destroy", "--env", "dev", "--yes", "--keep-data") == 1  # parameters are data
    assert run("destroy", "--env", "dev", "--yes", "--data") == 0
    assert not aws.ssm().get_parameters_by_path(Path="/scones/dev/", Recursive=True)["Parameters"]


def test_a_model_package_group_that_is_gone_has_no_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stacks = cloud(monkeypatch, Retraining="DELETE_FAILED")
    plane = ControlPlane(cache=tmp_path)
    refused: list[str] = []

    class Refusing:
        def get_paginator(self, _: str) -> "Refusing":
            return self

        def paginate(self, **request: str) -> Iterator[Any]:
            try:
                yield plane.list_model_packages(request)
            except ApiError as error:
                refused.append(error.code)
                raise ClientError({"Error": {"Code": error.code, "Message": str(error)}}, "ListModelPackages") from None

    monkeypatch.setattr(aws, "sagemaker", Refusing)
    monkeypatch.setattr(destroy, "_releases", lambda _: [])
    assert run("destroy", "--env", "dev", "--yes", "--keep-data") == 0
    assert refused == ["ValidationException"]
    assert not stacks.statuses
