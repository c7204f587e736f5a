"""A part of a page: data from AWS, or the error in its place. One refused request does not affect the other parts."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from data_prep.aws_errors import DENIED, explain
from data_prep.errors import DataPrepError
from lambda_src.shared.json_reader import DocumentError
from ops.errors import OpsError

T = TypeVar("T")

# "User: ARN is not authorized to perform: s3:GetObject on resource: ARN because no identity-based policy allows ..."
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_REFUSED = re.compile(r"not authorized to perform: (?P<action>[\w:-]+)(?: on resource: (?P<resource>\S+))?")
# The permissions of S3's operations, because S3's message may be just "Access Denied":
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_ACTIONS = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "PutObject": "s3:PutObject",
}


@dataclass(frozen=True)
class Part(Generic[T]):
    """Either `value` or the problem to show in its place."""

    value: T | None = None
    missing: str = ""
    error: Exception | None = None


def part(read: Callable[[], T], *, on: str) -> Part[T]:
    """The result of `read`. on: the resource that it reads, for errors that name none."""
    try:
        return Part(read())
    except ClientError as error:
        return Part(missing=refusal_reason(error, on=on), error=error)
    except BotoCoreError as error:
        return Part(missing=str(explain(error)), error=error)
    except (OpsError, DataPrepError, DocumentError) as error:
        return Part(missing=str(error), error=error)


def refusal_reason(error: ClientError, *, on: str) -> str:
    """The missing permission and its resource, or else AWS's message."""
    details = error.response["Error"]
    if details.get("Code") not in DENIED:
        return str(explain(error))
    found = _REFUSED.search(details.get("Message", ""))
    operation = error.operation_name
    action = found["action"] if found else _ACTIONS.get(operation, operation)
    resource = (found and found["resource"] and found["resource"].rstrip(".")) or on
    return f"Your credentials are missing the permission {action} on {resource}."
