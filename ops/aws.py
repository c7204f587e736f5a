"""Finds deployed environments and their resources."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from data_prep.aws import (
    MAX_CONNECTIONS,
    cloudwatch,
    lambda_,
    logs,
    outputs_of_stack,
    s3,
    sagemaker,
    sqs,
    ssm,
    stepfunctions,
    sts,
)
from lambda_src.shared.item import ImageRef
from lambda_src.shared.stored_image import version_of
from stacks.config import EnvironmentConfig

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef

__all__ = [
    "MAX_CONNECTIONS",
    "Deployment",
    "cloudwatch",
    "deployment",
    "lambda_",
    "logs",
    "s3",
    "sagemaker",
    "sqs",
    "ssm",
    "stepfunctions",
    "sts",
]


@dataclass(frozen=True)
class Deployment:
    """Resources of a deployed environment."""

    bucket: str
    state_machine_arn: str


def deployment(config: EnvironmentConfig) -> Deployment:
    """Find the environment by its stacks' outputs; raises DataPrepError if it is not deployed."""
    return Deployment(
        bucket=output(config, "Data", "BucketName"),
        state_machine_arn=output(config, "Workflow", "StateMachineArn"),
    )


def bucket(config: EnvironmentConfig) -> str:
    """The environment's bucket, which exists even if only the stack Data is deployed; raises DataPrepError."""
    return output(config, "Data", "BucketName")


def retraining_machine(config: EnvironmentConfig) -> str:
    """ARN of the environment's retraining workflow; raises DataPrepError if it is not deployed."""
    return output(config, "Retraining", "StateMachineArn")


def output(config: EnvironmentConfig, stack: str, key: str) -> str:
    """One output of one stack; raises DataPrepError if it does not exist."""
    return outputs_of_stack(config, stack)[key]


def described_endpoint(config: EnvironmentConfig) -> "DescribeEndpointOutputTypeDef | None":
    """The environment's endpoint as SageMaker describes it; None if there is none."""
    try:
        return sagemaker().describe_endpoint(EndpointName=config.endpoint_name)
    except ClientError as error:
        if "Could not find" not in str(error):
            raise
        return None


def object_versions(bucket: str, prefix: str) -> Iterator[ImageRef]:
    """Every version of every object whose key starts with `prefix`, as SerializeImageData names it."""
    for page in s3().get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for version in page.get("Versions", []):
            yield ImageRef(bucket, version["Key"], version_of(version))
