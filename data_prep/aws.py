"""The one seam to AWS: cached clients, what a deployed environment calls its resources, and errors as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from data_prep.errors import DataPrepError
from stacks.config import EnvironmentConfig

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

# As many requests under way at once as one process can usefully keep: images are small, so each is mostly waiting
MAX_CONNECTIONS = 32

_BOUNDED = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=MAX_CONNECTIONS,
)

_REFUSED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClient")


@cache
def s3() -> "S3Client":
    return boto3.client("s3", config=_BOUNDED)


@cache
def sagemaker() -> "SageMakerClient":
    return boto3.client("sagemaker", config=_BOUNDED)


@cache
def logs() -> "CloudWatchLogsClient":
    return boto3.client("logs", config=_BOUNDED)


@cache
def ssm() -> "SSMClient":
    return boto3.client("ssm", config=_BOUNDED)


@cache
def cloudformation() -> "CloudFormationClient":
    return boto3.client("cloudformation", config=_BOUNDED)


@cache
def sts() -> "STSClient":
    return boto3.client("sts", config=_BOUNDED)


@dataclass(frozen=True)
class DataStack:
    """What the environment's data stack made."""

    bucket: str
    sagemaker_role_arn: str
    region: str
    key_arn: str = ""  # empty where S3's own keys encrypt


def data_stack(config: EnvironmentConfig) -> DataStack:
    """Find the environment's bucket and role by its stack's outputs; raises DataPrepError if it is not deployed."""
    client = cloudformation()
    name = f"{config.stage_name}-Data"
    region = client.meta.region_name
    try:
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":  # how CloudFormation says that there is none
            raise
        raise DataPrepError(
            f"stack {name} is not deployed in {region}: deploy it first with `cdk deploy {config.name}/Data`, "
            "or set AWS_REGION and AWS_PROFILE to where it is"
        ) from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    try:
        return DataStack(outputs["BucketName"], outputs["SageMakerRoleArn"], region, outputs.get("KeyArn", ""))
    except KeyError as missing:
        raise DataPrepError(
            f"stack {name} is {stack['StackStatus']} and has no output {missing}: "
            f"deploy it again with `cdk deploy {config.name}/Data`"
        ) from None


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Raise what AWS or the way to it refuses as DataPrepError: what was asked, why not, what to do."""
    try:
        yield
    except NoCredentialsError:
        raise DataPrepError("no AWS credentials: set AWS_PROFILE, or sign in with `aws sso login`") from None
    except NoRegionError:
        raise DataPrepError("no AWS region: set AWS_REGION, or a region in the AWS profile") from None
    except EndpointConnectionError as error:
        raise DataPrepError(f"{error}: check the network and AWS_REGION") from None
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        advice = ""
        if code in _EXPIRED:
            advice = ": sign in again, for example with `aws sso login`"
        elif code in _REFUSED:
            advice = f": the caller needs the right to {error.operation_name}"
        raise DataPrepError(f"AWS refused {error.operation_name} ({code}): {message}{advice}") from None
    except BotoCoreError as error:
        raise DataPrepError(f"cannot reach AWS: {error}") from None
