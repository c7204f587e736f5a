"""All AWS clients, cached, so that a warm function reuses its connections and tests can replace them in one place."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lambda_src.shared import settings

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

MAX_CONNECTIONS = 32
# Two attempts of at most 1 s + 5 s and one pause of at most 1 s end before the functions' time-out of 15 s. The state
# machine makes further attempts: there they are visible, and waiting costs nothing.
_BOUNDED = Config(
    connect_timeout=1,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
    max_pool_connections=MAX_CONNECTIONS,
)
# A serverless endpoint responds once its container has started. A second request would only start another container,
# so there is one attempt, which ends before Classifier's time-out.
_PATIENT = _BOUNDED.merge(Config(read_timeout=30, retries={"mode": "standard", "total_max_attempts": 1}))

_TRANSIENT_CODES = {
    "InternalDependencyException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ModelNotReadyException",
    "RequestTimeout",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
    "ThrottlingException",
    "TooManyRequestsException",
}


@cache
def s3() -> "S3Client":
    return boto3.client("s3", config=_BOUNDED)


@cache
def sagemaker_runtime() -> "SageMakerRuntimeClient":
    config = _PATIENT if settings.endpoint_kind() == "serverless" else _BOUNDED
    return boto3.client("sagemaker-runtime", config=config)


@cache
def sagemaker() -> "SageMakerClient":
    return boto3.client("sagemaker", config=_BOUNDED)


@cache
def logs() -> "CloudWatchLogsClient":
    # FilterLogEvents scans everything in its time range, and an account may call it only a few times a second
    patient = Config(read_timeout=60, retries={"mode": "standard", "total_max_attempts": 8})
    return boto3.client("logs", config=_BOUNDED.merge(patient))


@cache
def ssm() -> "SSMClient":
    return boto3.client("ssm", config=_BOUNDED)


@cache
def stepfunctions() -> "SFNClient":
    return boto3.client("stepfunctions", config=_BOUNDED)


def is_transient(error: ClientError) -> bool:
    """Whether the same request may succeed later."""
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return error.response["Error"]["Code"] in _TRANSIENT_CODES or status >= 500 or status == 429
