"""S3 as SageMaker reaches it: with the execution role of the job or the model, so that its policies are enforced."""

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local.sagemaker.errors import JobFailedError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The emulator accepts this session if the role trusts SageMaker (local/adapters.py)
SESSION_NAME = "SageMaker"


def as_role(role_arn: str) -> "S3Client":
    """A client with the role's credentials; raises JobFailedError if SageMaker may not assume the role."""
    try:
        credentials = boto3.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=SESSION_NAME)["Credentials"]
    except ClientError as error:
        raise JobFailedError(f"SageMaker may not assume the role {role_arn}: {error}") from error
    return boto3.client(
        "s3",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        config=Config(max_pool_connections=16),
    )


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/some/key` as bucket and key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def read(s3: "S3Client", uri: str) -> bytes:
    """One object; raises JobFailedError."""
    bucket, key = split_uri(uri)
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        raise JobFailedError(f"{uri} cannot be read: {error}") from error


def write(s3: "S3Client", uri: str, body: bytes) -> None:
    """One object; raises JobFailedError."""
    bucket, key = split_uri(uri)
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    except ClientError as error:
        raise JobFailedError(f"{uri} cannot be written: {error}") from error


def etags(s3: "S3Client", prefix_uri: str) -> dict[str, str]:
    """URI and ETag of every object below a prefix; raises JobFailedError."""
    bucket, prefix = split_uri(prefix_uri)
    try:
        return {
            f"s3://{bucket}/{entry['Key']}": entry["ETag"]
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for entry in page.get("Contents", [])
        }
    except ClientError as error:
        raise JobFailedError(f"{prefix_uri} cannot be listed: {error}") from error
