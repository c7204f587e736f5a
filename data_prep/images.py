"""The checks of one image, the same for images that `build` writes and for those that `validate` is given."""

import io
import struct
import zlib
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.errors import DataPrepError
from lambda_src.errors import ImageError
from lambda_src.image_format import check_image

# Pillow's default of 6 gains one per cent and costs a quarter more time on 32x32 images
PNG_COMPRESS_LEVEL = 1

# What Pillow raises for bytes that pass the check of their structure
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


class BadImageError(DataPrepError):
    """When an image must not be trained on; the message is the reason alone."""


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """The PNG of RGB pixels of shape (height, width, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    return buffer.getvalue()


def decode(data: bytes, *, size: int | None) -> NDArray[np.uint8]:
    """The pixels, of shape (height, width, 3), of a whole RGB PNG or JPEG; `size` is the width and height it must have.

    Raises BadImageError.
    """
    try:
        check_image(data, name="")  # the check of SerializeImageData: what trains can also be served
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            image.load()
    except ImageError as error:
        raise BadImageError(str(error).removesuffix(": ")) from None
    except _DECODER_ERRORS as error:
        raise BadImageError(f"does not decode: {error}") from None
    if image.mode != "RGB":
        raise BadImageError(f"mode is {image.mode}, not RGB")
    if size and image.size != (size, size):
        raise BadImageError(f"is {image.width}x{image.height}, not {size}x{size} pixels")
    return np.asarray(image)


class PixelChecks:
    """What can be wrong with decoded pixels; knows the images of a data set that it has seen before."""

    def __init__(self) -> None:
        self._seen: dict[bytes, str] = {}

    def check(self, pixels: NDArray[np.uint8], split: str, name: str) -> None:
        """Raise BadImageError if the image is blank or equals an earlier one."""
        if (pixels == pixels[0, 0]).all():
            raise BadImageError(f"blank: every pixel is {tuple(pixels[0, 0].tolist())}")
        digest = blake2b(pixels.tobytes(), digest_size=16, key=repr(pixels.shape).encode()).digest()
        first = self._seen.setdefault(digest, f"{split}/{name}")
        if first != f"{split}/{name}":
            leak = "" if first.startswith(f"{split}/") else ", in the other split"
            raise BadImageError(f"same pixels as {first}{leak}")
