"""Converts a reviewed picture, in the version that was classified, to an image of the data set."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from botocore.exceptions import ClientError
from numpy.typing import NDArray
from PIL import Image

from data_prep.aws_errors import DENIED
from data_prep.images import BadImageError, decode, encode_png, fingerprint
from lambda_src.retraining.data_set_rules import size_problem
from lambda_src.retraining.lst_file import REVIEWED
from lambda_src.shared.item import ImageRef
from ops import aws
from ops.review.records import Review

VALIDATION_PERCENT = 20


@dataclass(frozen=True)
class Picture:
    """A reviewed picture ready for the data set, or the reason why it cannot be added."""

    review: Review
    png: bytes = b""
    pixels: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    fingerprint: bytes = b""
    reason: str = ""

    @classmethod
    def of(cls, review: Review, *, size: int) -> "Picture":
        """Resize to a square and remove alpha, as the endpoint does."""
        try:
            pixels = decode(read_picture(review.outcome.image), size=None)
            pixels = np.asarray(Image.fromarray(pixels).resize((size, size)))
            return cls(review, encode_png(pixels), pixels, fingerprint(pixels))
        except BadImageError as error:
            return cls(review, reason=str(error))

    @property
    def path(self) -> str:
        return f"{REVIEWED}{sha256(self.png).hexdigest()}.png"

    @property
    def split(self) -> str:
        """The split of a picture without near-duplicates, by a hash of its pixels: encoders change with versions."""
        share = int.from_bytes(sha256(self.pixels.tobytes()).digest()[:4], "big") / 2**32
        return "test" if share * 100 < VALIDATION_PERCENT else "train"


def read_picture(image: ImageRef) -> bytes:
    """The classified version of a picture; raises BadImageError if it no longer exists."""
    try:
        if not image.version_id:
            return _body(aws.s3().get_object(Bucket=image.bucket, Key=image.key))
        try:
            return _body(aws.s3().get_object(Bucket=image.bucket, Key=image.key, VersionId=image.version_id))
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"InvalidArgument", "NoSuchVersion"}:
                raise
            # In a bucket without versioning, the workflow identifies an object by its ETag
            etag = f'"{image.version_id}"'
            return _body(aws.s3().get_object(Bucket=image.bucket, Key=image.key, IfMatch=etag))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in {"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "MethodNotAllowed", "PreconditionFailed"}:
            raise BadImageError("this version of it does not exist any more") from None
        if code in DENIED:
            raise BadImageError(f"may not be read ({code}): the caller needs s3:GetObjectVersion on it") from None
        raise


def _body(answer: Any) -> bytes:
    if reason := size_problem(answer["ContentLength"]):
        answer["Body"].close()
        raise BadImageError(reason)
    return bytes(answer["Body"].read())
