"""Creates pictures that differ from the validation images: darker, noisier, of other classes, or corrupt."""

import io
import random
from typing import Literal

import numpy as np
from PIL import Image

from data_prep.sample import draw_image
from stacks.shared.cifar_100 import CLASS_NAMES

Drift = Literal["darker", "noisier", "other"]


def drifted(image: bytes, drift: Drift, rng: random.Random, classes: tuple[str, ...]) -> bytes:
    """A PNG that differs from what the model was trained on.

    `darker` keeps 15 to 40% of the light, `noisier` adds Gaussian noise with a deviation of 35 to 70 of 255 levels, and
    `other` is a drawing of a class that the model does not know.
    """
    if drift == "other":
        name = rng.choice([name for name in CLASS_NAMES if name not in classes])
        return _png(draw_image(name, np.random.default_rng(rng.getrandbits(64))))
    with Image.open(io.BytesIO(image)) as opened:
        pixels = np.asarray(opened.convert("RGB"), dtype=np.float64)
    if drift == "darker":
        pixels = pixels * rng.uniform(0.15, 0.4)
    else:
        deviation = rng.uniform(35, 70)
        pixels = pixels + np.random.default_rng(rng.getrandbits(64)).normal(0, deviation, pixels.shape)
    return _png(np.clip(pixels, 0, 255).astype(np.uint8))


def broken(image: bytes, rng: random.Random) -> bytes:
    """What people upload instead of a picture: the first half of one, a text, nothing, or one with a flipped bit."""
    match rng.randrange(4):
        case 0:
            return image[: len(image) // 2]
        case 1:
            return b"This is not a picture.\n"
        case 2:
            return b""
        case _:
            position = rng.randrange(len(image) // 4, len(image) // 2)
            return image[:position] + bytes([image[position] ^ 0x10]) + image[position + 1 :]


def _png(pixels: "np.typing.NDArray[np.uint8]") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
