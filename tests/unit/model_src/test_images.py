import io

import numpy as np
import pytest
from PIL import Image

from images import decode_image


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(32, 32), (640, 480), (1, 1)])
def test_an_image_of_any_size_is_seen_at_one_size(form: str, size: tuple[int, int]) -> None:
    image = decode_image(encoded(Image.new("RGB", size, (250, 10, 10)), form))
    np.testing.assert_allclose(image, np.broadcast_to([250, 10, 10], (32, 32, 3)), atol=5)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_an_image_of_another_mode_becomes_rgb(mode: str) -> None:
    image = decode_image(encoded(Image.new(mode, (10, 20))))
    assert image.shape == (32, 32, 3)


def test_anything_but_a_valid_image_of_the_two_formats_is_refused() -> None:
    whole = encoded(Image.effect_noise((32, 32), 50))
    for data in (b"", b"no image", whole[:60], whole[: len(whole) // 2], encoded(Image.new("RGB", (2, 2)), "GIF")):
        with pytest.raises(ValueError, match="not a readable image"):
            decode_image(data)
