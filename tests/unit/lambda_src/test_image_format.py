import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lambda_src.errors import CorruptImageError, ImageTooLargeError
from lambda_src.image_format import MAX_PIXELS, check_image


def encoded(kind: str, size: tuple[int, int] = (32, 32), mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.effect_mandelbrot(size, (-2, -1, 1, 1), 20).convert(mode)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        encoded("PNG"),
        encoded("PNG", mode="RGBA"),
        encoded("PNG", mode="1", size=(1, 1)),
        encoded("JPEG"),
        encoded("JPEG", mode="L", progressive=True),
        encoded("JPEG", mode="CMYK", size=(640, 480)),
        encoded("JPEG", exif=b"Exif\0\0" + b"x" * 1000),
        encoded("PNG") + b"trailing bytes are ignored by decoders",
    ],
)
def test_whole_images_pass(data: bytes) -> None:
    check_image(data, name="image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@given(cut=st.floats(0, 0.999))
def test_an_image_cut_anywhere_is_corrupt(kind: str, cut: float) -> None:
    data = encoded(kind)
    with pytest.raises(CorruptImageError, match=r"my/image\.png$"):
        check_image(data[: int(len(data) * cut)], name="my/image.png")


@given(position=st.integers(8, len(encoded("PNG")) - 1), flip=st.integers(1, 255))
def test_a_flipped_byte_in_a_png_is_noticed(position: int, flip: int) -> None:
    data = bytearray(encoded("PNG"))
    data[position] ^= flip
    with pytest.raises((CorruptImageError, ImageTooLargeError)):
        check_image(bytes(data), name="image")


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(CorruptImageError):
        check_image(data, name="image")
    with pytest.raises(CorruptImageError):
        check_image(b"\xff\xd8" + data.replace(b"\xff\xd9", b""), name="image")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "but empty"),
        (b"I am no image", "49 20 61 6d 20 6e 6f 20"),
        (encoded("GIF"), "neither PNG nor JPEG"),
    ],
)
def test_the_reason_is_given(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptImageError, match=reason):
        check_image(data, name="image")


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_too_large() -> None:
    with pytest.raises(ImageTooLargeError, match="65535x65535 pixels, at most 25,000,000"):
        check_image(_png_header(65535, 65535), name="bomb")
    check_image(_png_header(MAX_PIXELS // 5000, 5000), name="just under")


def test_an_image_without_area_is_corrupt() -> None:
    with pytest.raises(CorruptImageError, match="0x5 pixels"):
        check_image(_png_header(0, 5), name="image")
