"""The item that the steps of the workflow pass on: one image, and what each step adds.

It has the shape of the original's event, so every step takes and returns the same keys:

    {"image_data": "", "s3_bucket": "b", "s3_key": "test/bike.png"}                the execution's input
    + "image_data": "<base64>", "s3_version_id": "..."                             SerializeImageData
    + "image_data": "", "inferences": [0.97, 0.03], "label": "bicycle",
      "confidence": 0.97                                                           Classifier
    + "prediction_key": "predictions/test/bike.png/<version>.json"                 FilterConfidence

The steps pass on any other key unchanged.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from lambda_src.shared.errors import InvalidInputError
from lambda_src.shared.text import shortened

Item = dict[str, Any]

# predictions/<key>/<version>.json must itself be a key of at most 1,024 bytes
MAX_KEY_BYTES = 900


@dataclass(frozen=True)
class ImageRef:
    """One version of one object in S3."""

    bucket: str
    key: str
    version_id: str | None

    @classmethod
    def of(cls, item: object) -> "ImageRef":
        """The image that an item names; raises InvalidInputError."""
        if not isinstance(item, dict):
            raise InvalidInputError(f"an image is an object with s3_bucket and s3_key, not {_shown(item)}")
        if "body" in item and "s3_key" not in item:
            raise InvalidInputError(
                "the image is in `body`, the envelope of the original's steps: send the content of `body` instead. "
                f"Only an execution's whole input may be in an envelope: {_shown(item['body'])}"
            )
        key = _text(item, "s3_key")
        if len(key.encode()) > MAX_KEY_BYTES:
            raise InvalidInputError(f"s3_key is longer than {MAX_KEY_BYTES} bytes: {_shown(key)}")
        version_id = _text(item, "s3_version_id") if item.get("s3_version_id") else None
        return cls(_text(item, "s3_bucket"), key, version_id)

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def inference_id(self) -> str:
        """64 hexadecimal digits that link the endpoint's capture of this image to its prediction."""
        return hashlib.sha256(f"{self.bucket}/{self.key}/{self.version_id}".encode()).hexdigest()

    @property
    def prediction_key(self) -> str:
        """The same for every delivery of this version of the image."""
        return f"predictions/{self.key}/{self.version_id}.json"


def _text(item: Item, name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInputError(f"{name} must be a non-empty string, not {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can contain half of a surrogate pair
        raise InvalidInputError(f"{name} is not valid Unicode: {_shown(value)}") from None
    return value


def _shown(value: object) -> str:
    return shortened(repr(value), 60)
