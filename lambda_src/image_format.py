"""Is this one whole PNG or JPEG image? Answered from the bytes, without decoding a pixel.

The functions carry no image library (zip assets without Docker, small cold starts), and the workflow must not
spend an endpoint call on a file that no decoder would read. So this checks what can be checked by structure:
signature, every chunk's length and CRC, dimensions and end marker of a PNG (https://www.w3.org/TR/png-3/#5DataRep);
segment lengths, frame header and end marker of a JPEG (ITU T.81, annex B).
"""

import struct
import zlib
from collections.abc import Iterator

from lambda_src.errors import CorruptImageError, ImageTooLargeError

# 24 bits a pixel: 75 MB unpacked, ten times what a phone's camera gives within the workflow's size limit
MAX_PIXELS = 25_000_000

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SOI = b"\xff\xd8"
_JPEG_SOS, _JPEG_EOI = 0xDA, 0xD9
# Start-of-frame markers; C4, C8 and CC in the same range are tables and extensions
_JPEG_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_image(data: bytes, *, name: str) -> None:
    """Raise CorruptImageError or ImageTooLargeError unless `data` is one whole PNG or JPEG called `name`."""
    width, height = image_size(data, name=name)
    if width == 0 or height == 0:
        raise CorruptImageError(f"{width}x{height} pixels: {name}")
    if width * height > MAX_PIXELS:
        raise ImageTooLargeError(f"{width}x{height} pixels, at most {MAX_PIXELS:,} are taken: {name}")


def image_size(data: bytes, *, name: str = "") -> tuple[int, int]:
    """Width and height in pixels; raises CorruptImageError unless the structure is whole."""
    if data.startswith(_PNG_SIGNATURE):
        return _png_size(data, name)
    if data.startswith(_JPEG_SOI):
        return _jpeg_size(data, name)
    found = f"bytes that start with {data[:8].hex(' ')}" if data else "empty"
    raise CorruptImageError(f"neither PNG nor JPEG, but {found}: {name}")


def _png_size(data: bytes, name: str) -> tuple[int, int]:
    size: tuple[int, int] | None = None
    has_pixels = False
    for kind, body in _png_chunks(data, name):
        if size is None:
            if kind != b"IHDR" or len(body) != 13:
                raise CorruptImageError(f"PNG whose first chunk is not its header: {name}")
            size = struct.unpack(">II", body[:8])
        has_pixels = has_pixels or kind == b"IDAT"
    if size is None or not has_pixels:
        raise CorruptImageError(f"PNG without pixels: {name}")
    return size


def _png_chunks(data: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            break
        if struct.unpack_from(">I", data, end - 4)[0] != zlib.crc32(data[position + 4 : end - 4]):
            raise CorruptImageError(f"PNG with a wrong checksum in chunk {kind!r} at byte {position}: {name}")
        yield kind, data[position + 8 : end - 4]
        if kind == b"IEND":
            return  # what follows the end is ignored by every decoder
        position = end
    raise CorruptImageError(f"truncated PNG, {len(data)} bytes without an end chunk: {name}")


def _jpeg_size(data: bytes, name: str) -> tuple[int, int]:
    size: tuple[int, int] | None = None
    position = len(_JPEG_SOI)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise CorruptImageError(f"JPEG with no marker at byte {position}: {name}")
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _JPEG_SOF and length >= 8 and position + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, position + 5)
            size = (width, height)
        if marker == _JPEG_SOS:
            # Entropy-coded data runs to the end marker
            if size is None:
                raise CorruptImageError(f"JPEG without a frame header: {name}")
            if data.find(bytes([0xFF, _JPEG_EOI]), position) < 0:
                break
            return size
        position += 2 + max(length, 2)
    raise CorruptImageError(f"truncated JPEG, {len(data)} bytes without an end marker: {name}")
