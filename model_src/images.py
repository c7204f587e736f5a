"""Image bytes to what the model sees."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
CONTENT_TYPES = ("application/x-image", "image/png", "image/jpeg")


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """A PNG or JPEG of any size as an array (32, 32, 3) in RGB; raises ValueError."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            return np.asarray(image.convert("RGB").resize((SIDE, SIDE)), dtype=np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a readable image: {error}") from error
