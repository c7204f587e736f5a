"""SerializeImageData: read one image from S3 and put it into the item as base64."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from lambda_src import aws, metrics
from lambda_src.errors import (
    CorruptImageError,
    ImageAccessDeniedError,
    ImageNotFoundError,
    ImageTooLargeError,
    InvalidInputError,
    StorageUnavailableError,
)
from lambda_src.image_format import check_image
from lambda_src.item import ImageRef, Item

# A Step Functions state holds 256 KiB; base64 makes 253,336 bytes of these, which leaves 8 kB for the rest
MAX_IMAGE_BYTES = 190_000
# The item's share of the 262,144 bytes; the invocation's metadata comes on top. Beyond the limit Step Functions ends
# the whole execution with an error that no state can catch, so it must not get that far.
MAX_ITEM_BYTES = 258_000


@metrics.counting_errors
def handler(event: Item, _context: object) -> Item:
    """Takes `{"s3_bucket", "s3_key"}` and maybe `"s3_version_id"`; answers the item with `image_data` and the version.

    Raises InvalidInputError or an ImageError, which says what is wrong with the image.
    """
    image = ImageRef.of(event)
    stored = read_image(image, at_most=MAX_IMAGE_BYTES)
    check_image(stored.data, name=image.uri)
    image_data = base64.b64encode(stored.data).decode("ascii")
    item = {**event, "image_data": "", "s3_version_id": stored.version_id}
    # As JSON, with escapes, so never less than it takes as UTF-8; base64 has nothing to escape
    size = len(json.dumps(item)) + len(image_data)
    if size > MAX_ITEM_BYTES:
        raise ImageTooLargeError(
            f"{size:,} bytes with the item's other members, the workflow takes at most {MAX_ITEM_BYTES:,}: {image.uri}"
        )
    return {**item, "image_data": image_data}


@dataclass(frozen=True)
class StoredImage:
    """An object as it was read; its version is its ETag where the bucket keeps no versions."""

    data: bytes
    version_id: str
    modified: datetime


def read_image(image: ImageRef, *, at_most: int) -> StoredImage:
    """The object, of so many bytes at most; raises an ImageError.

    The size is checked before the body is read, so a huge object costs one request and no memory.
    """
    request: dict[str, Any] = {"Bucket": image.bucket, "Key": image.key}
    if image.version_id:
        request["VersionId"] = image.version_id
    try:
        response = aws.s3().get_object(**request)
        size = response["ContentLength"]
        if size > at_most:
            response["Body"].close()
            raise ImageTooLargeError(f"{size:,} bytes, the workflow takes at most {at_most:,}: {image.uri}")
        data = response["Body"].read()
    except ClientError as error:
        raise _explained(error, image) from error
    except ParamValidationError as error:
        raise InvalidInputError(f"no valid bucket and key ({error}): {image.uri}") from error
    except BotoCoreError as error:
        raise StorageUnavailableError(f"could not be read ({error}): {image.uri}") from error
    if len(data) != size:
        raise CorruptImageError(f"ended after {len(data)} of {size} bytes: {image.uri}")
    return StoredImage(data, response.get("VersionId") or response["ETag"].strip('"'), response["LastModified"])


def _explained(error: ClientError, image: ImageRef) -> Exception:
    code = error.response["Error"]["Code"]
    version = f" in version {image.version_id}" if image.version_id else ""
    if code in {"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "MethodNotAllowed", "404"}:
        return ImageNotFoundError(f"does not exist{version}: {image.uri}")
    if code in {"AccessDenied", "403", "InvalidObjectState"}:
        return ImageAccessDeniedError(f"may not be read ({code}): {image.uri}")
    if aws.is_transient(error):
        return StorageUnavailableError(f"could not be read ({error}): {image.uri}")
    return InvalidInputError(f"could not be read ({error}): {image.uri}")
