from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from data_prep import aws
from data_prep.errors import DataPrepError
from data_prep.target import Target
from stacks.config import parse_environment

CONFIG = parse_environment("dev", {})
NAME = {"StackName": "scones-dev-Data"}
TARGET = Target(account="123456789012", region="eu-west-1", endpoint="https://cloudformation.eu-west-1.amazonaws.com")


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    client = boto3.Session("unit", "test", region_name="eu-west-1").client("cloudformation")
    monkeypatch.setattr(aws, "cloudformation", lambda: client)
    monkeypatch.setattr(aws, "current_target", lambda: TARGET)
    monkeypatch.setenv("AWS_REGION", TARGET.region)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def _stack(outputs: dict[str, str]) -> dict[str, Any]:
    listed = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    stack = {
        "StackName": "scones-dev-Data",
        "CreationTime": "2024-12-22T10:00:00Z",
        "StackStatus": "ROLLBACK_COMPLETE",
        "Outputs": listed,
    }
    return {"Stacks": [stack]}


def test_bucket_and_role_are_the_data_stacks_outputs(cloudformation: Stubber) -> None:
    outputs = {"AlertTopicArn": "t", "BucketName": "b", "SageMakerRoleArn": "r"}
    cloudformation.add_response("describe_stacks", _stack(outputs), NAME)
    assert aws.data_stack(CONFIG) == aws.DataStack("b", "r", "eu-west-1")


def test_the_error_for_an_environment_that_is_not_deployed_has_the_place_and_the_command_to_run(
    cloudformation: Stubber,
) -> None:
    cloudformation.add_client_error("describe_stacks", "ValidationError", "Stack with id x does not exist")
    with pytest.raises(DataPrepError) as caught:
        aws.data_stack(CONFIG)
    assert f"scones-dev-Data is not deployed in {TARGET}" in str(caught.value)
    assert "`make deploy ENV=dev`" in str(caught.value)


def test_a_failed_stack_is_reported(cloudformation: Stubber) -> None:
    cloudformation.add_response("describe_stacks", _stack({"BucketName": "b"}), NAME)
    with pytest.raises(DataPrepError, match="is ROLLBACK_COMPLETE and has no output SageMakerRoleArn"):
        aws.data_stack(CONFIG)
