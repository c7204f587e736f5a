"""Encodes pictures of unknown origin again, so that the browser never receives their original bytes."""

import io

from botocore.exceptions import ClientError
from PIL import Image, ImageOps
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from data_prep.aws_errors import DENIED
from lambda_src.classification.serialize_image_data import MAX_IMAGE_BYTES
from lambda_src.shared.errors import CorruptImageError, ImageError, ImageTooLargeError
from lambda_src.shared.image_format import check_image
from ops import aws
from ops.console.parts import refusal_reason
from ops.console.site import site
from stacks.shared import prefixes

# The prefixes from which the workflows read images; no other object is shown
SHOWN_PREFIXES = (prefixes.INCOMING, prefixes.SCHEDULED, prefixes.TEST)
MAX_SIDE = 640  # pixels


def redrawn(data: bytes, *, name: str) -> bytes:
    """The picture as PNG of at most MAX_SIDE pixels; raises ImageError if the workflow would refuse it."""
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageTooLargeError(f"{len(data):,} bytes, the workflow takes at most {MAX_IMAGE_BYTES:,}: {name}")
    check_image(data, name=name)
    try:
        # Only the formats of check_image, not all that Pillow can decode
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as opened:
            opened.draft("RGB", (MAX_SIDE, MAX_SIDE))
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CorruptImageError(f"cannot be decoded ({error}): {name}") from None
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    drawn = Image.frombytes("RGB", picture.size, picture.tobytes())  # only the pixels, no metadata
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    return buffer.getvalue()


def picture(request: Request) -> Response:
    """The picture with the query's `key` and, if given, `version`."""
    bucket = site(request).bucket
    key, version = request.query_params.get("key", ""), request.query_params.get("version")
    if not key.startswith(SHOWN_PREFIXES):
        return PlainTextResponse("No picture of the workflow lies there.\n", 404)
    try:
        body = _stored(bucket, key, version)
        return Response(redrawn(body, name=key), media_type="image/png")
    except ClientError as error:
        status = 403 if error.response["Error"]["Code"] in DENIED else 404
        return PlainTextResponse(f"{refusal_reason(error, on=f's3://{bucket}/{key}')}\n", status)
    except ImageError as error:
        return PlainTextResponse(f"{error}\n", 415)


def _stored(bucket: str, key: str, version: str | None) -> bytes:
    """The object, or enough of it to show that it is too large."""
    s3 = aws.s3()
    if version:
        found = s3.get_object(Bucket=bucket, Key=key, VersionId=version)
    else:
        found = s3.get_object(Bucket=bucket, Key=key)
    return found["Body"].read(MAX_IMAGE_BYTES + 1)


ROUTES = [Route("/picture", picture)]
