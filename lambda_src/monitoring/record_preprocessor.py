"""Runs in SageMaker Model Monitor's container, not in Lambda: one captured request as a row of numbers.

The container takes tabular data only, so the image becomes its format and size. It calls `preprocess_handler` for each
record and knows of no other module, which is why this one imports nothing of the project. Contract:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-pre-and-post-processing.html
"""

import base64
import json
import struct
from typing import Any

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_JPEG_SOS = 0xDA
# Start-of-frame markers; C4, C8 and CC in the same range are tables and extensions
_JPEG_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def preprocess_handler(inference_record: Any) -> dict[str, float]:
    """The columns of one record; empty, which drops the record, if it holds no prediction for an image."""
    try:
        image = _payload(inference_record.endpoint_input)
        response = json.loads(_payload(inference_record.endpoint_output))  # noqa: TID251 - it stands alone
        probabilities = [float(p) for p in response]
    except (AttributeError, TypeError, ValueError, RecursionError):
        return {}
    if not probabilities:
        return {}
    confidence = max(probabilities)
    width, height = image_size(image)
    return {
        "image_bytes": len(image),
        "image_width": width,
        "image_height": height,
        # How much there is to see: a dark or blank picture compresses to little, noise to much
        "bits_per_pixel": 8 * len(image) / (width * height) if width and height else 0.0,
        "prediction": probabilities.index(confidence),
        "confidence": confidence,
        **{f"probability_{index}": probability for index, probability in enumerate(probabilities)},
    }


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a PNG or JPEG; (0, 0) for anything else."""
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    position = 2 if data.startswith(_JPEG) else len(data)
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _JPEG_SOF:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        if marker == _JPEG_SOS:
            break
        (length,) = struct.unpack_from(">H", data, position + 2)
        position += 2 + max(length, 2)
    return 0, 0


def _payload(part: Any) -> bytes:
    """Decoded as its `encoding` says."""
    data: str = part.data
    return base64.b64decode(data, validate=True) if part.encoding == "BASE64" else data.encode()
