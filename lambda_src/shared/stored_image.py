"""Reads one image from S3: its bytes and its version, with errors that say what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from lambda_src.shared import aws
from lambda_src.shared.errors import (
    CorruptImageError,
    ImageAccessDeniedError,
    ImageNotFoundError,
    ImageTooLargeError,
    InvalidInputError,
    StorageUnavailableError,
)
from lambda_src.shared.item import ImageRef


@dataclass(frozen=True)
class StoredImage:
    """An object that was read. Without versioning in the bucket, its version is its ETag."""

    data: bytes
    version_id: str
    modified: datetime


def read_image(image: ImageRef, *, at_most: int) -> StoredImage:
    """Read the object if it has at most `at_most` bytes; raises an ImageError.

    The size is checked before the body is read, so a huge object takes one request and no memory.
    """
    request: dict[str, Any] = {"Bucket": image.bucket, "Key": image.key}
    if image.version_id:
        request["VersionId"] = image.version_id
    try:
        response = aws.s3().get_object(**request)
        size = response["ContentLength"]
        if size > at_most:
            response["Body"].close()
            raise ImageTooLargeError(f"{size:,} bytes; the workflow accepts at most {at_most:,}: {image.uri}")
        data = response["Body"].read()
    except ClientError as error:
        raise _translate_error(error, image) from error
    except ParamValidationError as error:
        raise InvalidInputError(f"no valid bucket and key ({error}): {image.uri}") from error
    except BotoCoreError as error:
        raise StorageUnavailableError(f"could not be read ({error}): {image.uri}") from error
    if len(data) != size:
        raise CorruptImageError(f"ended after {len(data)} of {size} bytes: {image.uri}")
    return StoredImage(data, version_of(response), response["LastModified"])


def version_of(response: Mapping[str, Any]) -> str:
    """What identifies this content of the object: its version, or its ETag if the bucket has no versioning."""
    version = response.get("VersionId") or "null"  # S3 writes "null" for objects from before versioning
    return str(response["ETag"].strip('"') if version == "null" else version)


def _translate_error(error: ClientError, image: ImageRef) -> Exception:
    code = error.response["Error"]["Code"]
    version = f" in version {image.version_id}" if image.version_id else ""
    if code in {"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "MethodNotAllowed", "404"}:
        return ImageNotFoundError(f"does not exist{version}: {image.uri}")
    if code in {"AccessDenied", "403", "InvalidObjectState"}:
        return ImageAccessDeniedError(f"may not be read ({code}): {image.uri}")
    if aws.is_transient(error):
        return StorageUnavailableError(f"could not be read ({error}): {image.uri}")
    return InvalidInputError(f"could not be read ({error}): {image.uri}")
