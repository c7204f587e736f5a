import io
import random

import numpy as np
import pytest
from PIL import Image

from data_prep.sample import draw_image
from lambda_src.shared.errors import CorruptImageError
from lambda_src.shared.image_format import check_image
from ops.pictures import broken, drifted

CLASSES = ("bicycle", "motorcycle")


@pytest.fixture(scope="module")
def image() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_image("bicycle", np.random.default_rng(1))).save(buffer, format="PNG")
    return buffer.getvalue()


def pixels(data: bytes) -> "np.typing.NDArray[np.float64]":
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.float64)


def roughness(data: bytes) -> float:
    return float(np.abs(np.diff(pixels(data), axis=1)).mean())


def test_darker_keeps_the_picture_and_little_light(image: bytes) -> None:
    dark = drifted(image, "darker", random.Random(0), CLASSES)
    assert 0.1 < pixels(dark).mean() / pixels(image).mean() < 0.45
    assert np.corrcoef(pixels(dark).ravel(), pixels(image).ravel())[0, 1] > 0.95


def test_noisier_is_rougher(image: bytes) -> None:
    assert roughness(drifted(image, "noisier", random.Random(0), CLASSES)) > 1.5 * roughness(image)


def test_other_is_another_picture_of_the_same_size(image: bytes) -> None:
    other = drifted(image, "other", random.Random(0), CLASSES)
    assert pixels(other).shape == pixels(image).shape
    assert abs(np.corrcoef(pixels(other).ravel(), pixels(image).ravel())[0, 1]) < 0.9


@pytest.mark.parametrize("drift", ["darker", "noisier", "other"])
def test_the_seed_decides(image: bytes, drift: str) -> None:
    def draw(seed: int) -> bytes:
        return drifted(image, drift, random.Random(seed), CLASSES)  # type: ignore[arg-type]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    check_image(draw(1), name="drifted")


def test_the_workflow_refuses_broken_pictures(image: bytes) -> None:
    kinds = {broken(image, random.Random(seed)) for seed in range(40)}
    assert len(kinds) > 4
    for data in kinds:
        with pytest.raises(CorruptImageError):
            check_image(data, name="broken")
