"""A deployed environment, as the commands of ops find it."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from data_prep.aws import MAX_CONNECTIONS, cloudformation, s3, ssm
from ops.errors import OpsError
from stacks.config import EnvironmentConfig

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

__all__ = ["MAX_CONNECTIONS", "Deployment", "deployment", "s3", "ssm", "stepfunctions"]


@cache
def stepfunctions() -> "SFNClient":
    # Adaptive: a client that is told to slow down sends more slowly, instead of giving requests up
    return boto3.client(
        "stepfunctions",
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "adaptive", "total_max_attempts": 8},
            max_pool_connections=MAX_CONNECTIONS,
        ),
    )


@dataclass(frozen=True)
class Deployment:
    """What the environment's stacks made."""

    bucket: str
    state_machine_arn: str


def deployment(config: EnvironmentConfig) -> Deployment:
    """Find the environment by its stacks' outputs; raises OpsError if it is not deployed."""
    return Deployment(
        bucket=output(config, "Data", "BucketName"),
        state_machine_arn=output(config, "Workflow", "StateMachineArn"),
    )


def bucket(config: EnvironmentConfig) -> str:
    """The environment's bucket, which is there before and after everything else; raises OpsError."""
    return output(config, "Data", "BucketName")


def retraining_machine(config: EnvironmentConfig) -> str:
    """ARN of the environment's retraining workflow; raises OpsError if it is not deployed."""
    return output(config, "Retraining", "StateMachineArn")


def output(config: EnvironmentConfig, stack: str, key: str) -> str:
    """One output of one stack; raises OpsError if it is not there."""
    name = f"{config.stage_name}-{stack}"
    client = cloudformation()
    try:
        described = client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":  # how CloudFormation says that there is none
            raise
        raise OpsError(
            f"stack {name} is not deployed in {client.meta.region_name}: "
            f"deploy it with `make deploy ENV={config.name}`, or set AWS_REGION and AWS_PROFILE to where it is"
        ) from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    if key not in outputs:
        raise OpsError(f"stack {name} is {described['StackStatus']} and has no output {key}: deploy it again")
    return outputs[key]
