"""All AWS clients for the current target, cached, and the outputs of a deployed environment's stacks."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from data_prep.errors import DataPrepError
from data_prep.target import current_target, make_command, region
from stacks.config import EnvironmentConfig

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_sts import STSClient

# Concurrent requests: images are small, so each request mostly waits
MAX_CONNECTIONS = 32

_BOUNDED = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=MAX_CONNECTIONS,
)
# When throttled, a client slows down instead of failing
_ADAPTIVE = _BOUNDED.merge(Config(retries={"mode": "adaptive", "total_max_attempts": 8}))


@cache
def cloudformation() -> "CloudFormationClient":
    return boto3.client("cloudformation", region_name=region(), config=_BOUNDED)


@cache
def cloudwatch() -> "CloudWatchClient":
    return boto3.client("cloudwatch", region_name=region(), config=_BOUNDED)


@cache
def cost_explorer() -> Any:
    return boto3.client("ce", region_name=region(), config=_BOUNDED)


@cache
def lambda_() -> "LambdaClient":
    return boto3.client("lambda", region_name=region(), config=_BOUNDED)


@cache
def logs() -> "CloudWatchLogsClient":
    return boto3.client("logs", region_name=region(), config=_BOUNDED)


@cache
def s3() -> "S3Client":
    return boto3.client("s3", region_name=region(), config=_BOUNDED)


@cache
def sagemaker() -> "SageMakerClient":
    return boto3.client("sagemaker", region_name=region(), config=_BOUNDED)


@cache
def sagemaker_runtime() -> "SageMakerRuntimeClient":
    return boto3.client("sagemaker-runtime", region_name=region(), config=_BOUNDED)


@cache
def service_quotas() -> Any:
    return boto3.client("service-quotas", region_name=region(), config=_BOUNDED)


@cache
def sns() -> "SNSClient":
    return boto3.client("sns", region_name=region(), config=_BOUNDED)


@cache
def sqs() -> "SQSClient":
    return boto3.client("sqs", region_name=region(), config=_BOUNDED)


@cache
def ssm() -> "SSMClient":
    return boto3.client("ssm", region_name=region(), config=_BOUNDED)


@cache
def stepfunctions() -> "SFNClient":
    return boto3.client("stepfunctions", region_name=region(), config=_ADAPTIVE)


@cache
def sts() -> "STSClient":
    return boto3.client("sts", region_name=region(), config=_BOUNDED)


class StackOutputs(dict[str, str]):
    """A stack's outputs by name; a missing one raises DataPrepError."""

    def __init__(self, config: EnvironmentConfig, stack: Any) -> None:
        super().__init__({output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])})
        self._stack = f"stack {stack['StackName']} is {stack['StackStatus']}"
        self._environment = config.name

    def __missing__(self, name: str) -> str:
        deploy = make_command("deploy", self._environment)
        raise DataPrepError(f"{self._stack} and has no output {name}: deploy it again with `{deploy}`")


def outputs_of_stack(config: EnvironmentConfig, stack: str) -> StackOutputs:
    """The outputs of one of the environment's stacks, such as `Data`; raises DataPrepError if it is not deployed."""
    name = f"{config.stage_name}-{stack}"
    try:
        described = cloudformation().describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":  # CloudFormation's error for a missing stack
            raise
        deploy = make_command("deploy", config.name)
        raise DataPrepError(
            f"stack {name} is not deployed in {current_target()}: deploy it with `{deploy}`, "
            "or set AWS_PROFILE and AWS_REGION to where it is"
        ) from None
    return StackOutputs(config, described)


@dataclass(frozen=True)
class DataStack:
    """The outputs of the environment's data stack."""

    bucket: str
    sagemaker_role_arn: str
    region: str
    key_arn: str = ""  # empty if S3's own keys encrypt the bucket


def data_stack(config: EnvironmentConfig) -> DataStack:
    """Find the environment's bucket and role; raises DataPrepError if it is not deployed."""
    outputs = outputs_of_stack(config, "Data")
    return DataStack(outputs["BucketName"], outputs["SageMakerRoleArn"], region(), outputs.get("KeyArn", ""))
