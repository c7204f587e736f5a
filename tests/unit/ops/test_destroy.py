"""`python -m ops destroy`: that it asks, and that an emptied bucket is empty."""

from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from data_prep import aws
from data_prep.target import Target
from ops import destroy
from ops.destroy import _delete_releases, empty_bucket
from stacks.config import load_environment
from tests.unit.ops.conftest import deployed_stacks, run

TARGET = Target(account="123456789012", region="us-east-1", endpoint="https://cloudformation.us-east-1.amazonaws.com")


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(destroy, "current_target", lambda: TARGET)
    with mock_aws():
        yield


def test_an_emptied_bucket_holds_no_version_and_no_marker() -> None:
    s3 = aws.s3()
    s3.create_bucket(Bucket="full")
    s3.put_bucket_versioning(Bucket="full", VersioningConfiguration={"Status": "Enabled"})
    for number in range(1, 1006):  # more than one request takes
        s3.put_object(Bucket="full", Key=f"key with spaces/{number}", Body=b"")
    s3.put_object(Bucket="full", Key="key with spaces/1", Body=b"newer")
    s3.delete_object(Bucket="full", Key="key with spaces/2")
    empty_bucket("full")
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


def test_it_asks_first_and_takes_only_the_name_for_an_answer(
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
