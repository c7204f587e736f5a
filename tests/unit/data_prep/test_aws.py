from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
)
from botocore.stub import Stubber

from data_prep import aws
from data_prep.errors import DataPrepError
from stacks.config import parse_environment

CONFIG = parse_environment("dev", {})
NAME = {"StackName": "scones-dev-Data"}


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    client = boto3.Session("unit", "test", region_name="eu-west-1").client("cloudformation")
    monkeypatch.setattr(aws, "cloudformation", lambda: client)
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


def test_an_environment_that_is_not_deployed_says_what_to_run(cloudformation: Stubber) -> None:
    cloudformation.add_client_error("describe_stacks", "ValidationError", "Stack with id x does not exist")
    with pytest.raises(DataPrepError, match=r"scones-dev-Data is not deployed in eu-west-1.*`cdk deploy dev/Data`"):
        aws.data_stack(CONFIG)


def test_a_stack_that_failed_says_so(cloudformation: Stubber) -> None:
    cloudformation.add_response("describe_stacks", _stack({"BucketName": "b"}), NAME)
    with pytest.raises(DataPrepError, match="is ROLLBACK_COMPLETE and has no output 'SageMakerRoleArn'"):
        aws.data_stack(CONFIG)


def _client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "because"}}, "PutObject")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NoCredentialsError(), "no AWS credentials: set AWS_PROFILE"),
        (NoRegionError(), "no AWS region: set AWS_REGION"),
        (EndpointConnectionError(endpoint_url="https://s3"), 'Could not connect .* "https://s3": check the network'),
        (ReadTimeoutError(endpoint_url="https://s3"), "cannot reach AWS: Read timeout"),
        (_client_error("ExpiredToken"), "ExpiredToken.*: because: sign in again"),
        (_client_error("AccessDenied"), "AccessDenied.*: because: the caller needs the right to PutObject"),
        (_client_error("NoSuchBucket"), r"AWS refused PutObject \(NoSuchBucket\): because$"),
    ],
)
def test_what_aws_refuses_becomes_one_line(error: Exception, message: str) -> None:
    with pytest.raises(DataPrepError, match=message) as caught, aws.one_line_errors():
        raise error
    assert "\n" not in str(caught.value)
