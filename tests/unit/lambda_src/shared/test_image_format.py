import io
import re
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lambda_src.shared.errors import CorruptImageError, ImageTooLargeError
from lambda_src.shared.image_format import MAX_PIXELS, check_image


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


def _png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_too_large() -> None:
    with pytest.raises(ImageTooLargeError, match="65535x65535 pixels; the limit is 25,000,000"):
        check_image(_png_header(65535, 65535), name="bomb")
    check_image(_png_header(MAX_PIXELS // 5000, 5000), name="just under")


def scanned(size: tuple[int, int], scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan, at a few bytes each."""
    data = encoded_flat(size)
    starts = [match.start() for match in re.finditer(b"\xff\xda", data)]
    return data[:-2] + data[starts[-1] : -2] * (scans - len(starts)) + data[-2:]


def encoded_flat(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, 128).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


def test_scans_of_a_jpeg_are_counted_to_its_end() -> None:
    """4,302 of them in 189 kB kept a decoder busy for 100 s."""
    with pytest.raises(ImageTooLargeError, match="302 scans of 1000x1000 pixels; the limit is 300: many"):
        check_image(scanned((1000, 1000), 302), name="many")
    check_image(scanned((1000, 1000), 300), name="at the limit")
    check_image(scanned((16, 16), 4000), name="many of few pixels")


def test_a_marker_within_a_scan_is_none() -> None:
    """Stuffed zeros, restart intervals and fill bytes do not end a scan."""
    data = encoded("JPEG", size=(640, 480), restart_marker_blocks=1)
    assert re.search(rb"\xff[\xd0-\xd7]", data)
    check_image(data, name="restarts")
    check_image(data[:-2] + b"\xff\xff\xff" + data[-2:], name="fill bytes")


def second(data: bytes, marker: bytes) -> bytes:
    """With a copy of the segment in front of it."""
    start = data.index(marker)
    end = start + 2 + struct.unpack_from(">H", data, start + 2)[0]
    return data[:end] + data[start:end] + data[end:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (second(encoded("JPEG"), b"\xff\xc0"), "a second or an unknown kind of frame, C0"),
        (encoded("JPEG").replace(b"\xff\xc0", b"\xff\xc9"), "a second or an unknown kind of frame, C9"),
        (encoded("JPEG").replace(b"\xff\xc0", b"\xff\xfe"), "without a frame header"),
        (b"\xff\xd8\xff\xd9", "without pixels"),
        (encoded("PNG")[:33] + encoded("PNG")[8:], "without one header"),
    ],
)
def test_images_that_decoders_read_differently_are_corrupt(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptImageError, match=reason):
        check_image(data, name="image")


@pytest.mark.parametrize("size", [(25_000_000, 1), (1, 16_385)])
def test_a_long_side_is_too_large(size: tuple[int, int]) -> None:
    """A PNG of one line, or one column, of 3 kB took a gigabyte."""
    with pytest.raises(ImageTooLargeError, match="16,384 on a side"):
        check_image(_png_header(*size), name="line")


@pytest.mark.parametrize(("depth", "colour", "most"), [(8, 2, 25_000_000), (8, 6, 18_750_000), (16, 6, 9_375_000)])
def test_a_pixel_counts_by_the_bytes_that_it_unpacks_to(depth: int, colour: int, most: int) -> None:
    check_image(_png_header(most // 5000, 5000, depth, colour), name="just under")
    with pytest.raises(ImageTooLargeError, match="pixels"):
        check_image(_png_header(most // 5000 + 1, 5000, depth, colour), name="just over")


def test_an_image_without_area_is_corrupt() -> None:
    with pytest.raises(CorruptImageError, match="0x5 pixels"):
        check_image(_png_header(0, 5), name="image")
