"""Checks whether bytes are one complete PNG or JPEG image, and bounds the work of decoding it, without decoding it.

The functions have no image library: their assets are built without Docker, and they start quickly. The workflow must
not invoke the endpoint with a file that no decoder can read, or that takes one very long to read. This module therefore
checks the structure: signature, length and CRC of every chunk, header and end marker of a PNG
(https://www.w3.org/TR/png-3/#5DataRep); segment lengths, frame header, every scan and end marker of a JPEG (ITU T.81,
annex B). docs/security.md has the measured worst case of what passes.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lambda_src.shared.errors import CorruptImageError, ImageTooLargeError

# Ten times the pixels of a phone's picture within the workflow's size limit
MAX_PIXELS = 25_000_000
# MAX_PIXELS at 24 bits each; an image with alpha or 16 bits per channel may have fewer pixels
MAX_DECODED_BYTES = 3 * MAX_PIXELS
# Decoders allocate memory for each line, so an image of a single column takes far more than its pixels
MAX_SIDE = 16_384
# A decoder passes over all pixels for each scan of a progressive JPEG. Encoders write about 10 scans; the format sets
# no limit.
MAX_SCANNED_PIXELS = 12 * MAX_PIXELS

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# By colour type: https://www.w3.org/TR/png-3/#6Colour-values. A palette's entries are RGB.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_JPEG_SOI = b"\xff\xd8"
_JPEG_SOS, _JPEG_EOI = 0xDA, 0xD9
_JPEG_TEM = 0x01
_JPEG_RST = range(0xD0, 0xD8)
# Start-of-frame markers; C4, C8 and CC in the same range are tables and extensions
_JPEG_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Baseline, extended and progressive with Huffman codes, which every common decoder supports
_JPEG_KNOWN_SOF = frozenset({0xC0, 0xC1, 0xC2})
# The marker that ends a scan's entropy-coded data: not a stuffed zero, a restart marker or a fill byte
_JPEG_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True)
class _Frame:
    """An image as its header describes it."""

    width: int
    height: int
    channels: int
    depth: int  # bits of a channel
    scans: int = 1

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def decoded_bytes(self) -> int:
        """With at least three channels, because models take RGB."""
        return self.pixels * max(self.channels, 3) * (2 if self.depth > 8 else 1)


def check_image(data: bytes, *, name: str) -> None:
    """Raise CorruptImageError or ImageTooLargeError unless `data` is one whole PNG or JPEG called `name`."""
    frame = _frame(data, name)
    size = f"{frame.width}x{frame.height}"
    if not frame.pixels:
        raise CorruptImageError(f"{size} pixels: {name}")
    if frame.pixels > MAX_PIXELS or max(frame.width, frame.height) > MAX_SIDE:
        raise ImageTooLargeError(f"{size} pixels; the limit is {MAX_PIXELS:,}, and {MAX_SIDE:,} on a side: {name}")
    if frame.decoded_bytes > MAX_DECODED_BYTES:
        raise ImageTooLargeError(
            f"{size} pixels of {frame.channels} channels with {frame.depth} bits unpack to {frame.decoded_bytes:,} "
            f"bytes; the limit is {MAX_DECODED_BYTES:,}: {name}"
        )
    if frame.pixels * frame.scans > MAX_SCANNED_PIXELS:
        raise ImageTooLargeError(
            f"{frame.scans:,} scans of {size} pixels; the limit is {MAX_SCANNED_PIXELS // frame.pixels:,}: {name}"
        )


def image_size(data: bytes, *, name: str = "") -> tuple[int, int]:
    """Width and height in pixels; raises CorruptImageError unless the image is complete."""
    frame = _frame(data, name)
    return frame.width, frame.height


def _frame(data: bytes, name: str) -> _Frame:
    if data.startswith(_PNG_SIGNATURE):
        return _png_frame(data, name)
    if data.startswith(_JPEG_SOI):
        return _jpeg_frame(data, name)
    found = f"bytes that start with {data[:8].hex(' ')}" if data else "empty"
    raise CorruptImageError(f"neither PNG nor JPEG, but {found}: {name}")


def _png_frame(data: bytes, name: str) -> _Frame:
    frame: _Frame | None = None
    has_pixels = False
    for kind, body in _png_chunks(data, name):
        if (frame is None) != (kind == b"IHDR") or (kind == b"IHDR" and len(body) != 13):
            raise CorruptImageError(f"PNG without one header, as its first chunk: {name}")
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", body)
            if colour not in _PNG_CHANNELS:
                raise CorruptImageError(f"PNG of the unknown colour type {colour}: {name}")
            frame = _Frame(width, height, _PNG_CHANNELS[colour], depth)
        has_pixels = has_pixels or kind == b"IDAT"
    if frame is None or not has_pixels:
        raise CorruptImageError(f"PNG without pixels: {name}")
    return frame


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
            return  # decoders ignore what follows the end
        position = end
    raise CorruptImageError(f"truncated PNG, {len(data)} bytes without an end chunk: {name}")


def _jpeg_frame(data: bytes, name: str) -> _Frame:
    frame: _Frame | None = None
    scans = 0
    for marker, body in _jpeg_segments(data, name):
        if marker in _JPEG_SOF:
            if frame or marker not in _JPEG_KNOWN_SOF or len(body) < 6:
                raise CorruptImageError(f"JPEG with a second or an unknown kind of frame, {marker:02X}: {name}")
            depth, height, width, channels = struct.unpack_from(">BHHB", body)
            frame = _Frame(width, height, channels, depth)
        if marker == _JPEG_SOS:
            if frame is None:
                raise CorruptImageError(f"JPEG without a frame header: {name}")
            scans += 1
    if frame is None or not scans:
        raise CorruptImageError(f"JPEG without pixels: {name}")
    return replace(frame, scans=scans)


def _jpeg_segments(data: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to the end marker; decoders ignore what follows it."""
    position = len(_JPEG_SOI)
    while position + 2 <= len(data):
        if data[position] != 0xFF:
            raise CorruptImageError(f"JPEG with no marker at byte {position}: {name}")
        marker = data[position + 1]
        if marker == _JPEG_EOI:
            return
        if marker == 0xFF:  # fill bytes may precede a marker
            position += 1
            continue
        position += 2
        if marker == _JPEG_TEM or marker in _JPEG_RST:
            continue
        if position + 2 > len(data):
            break
        (length,) = struct.unpack_from(">H", data, position)
        end = position + max(length, 2)
        yield marker, data[position + 2 : end]
        position = end
        if marker == _JPEG_SOS:
            following = _JPEG_NEXT_MARKER.search(data, position)
            if following is None:
                break
            position = following.start()
    raise CorruptImageError(f"truncated JPEG, {len(data)} bytes without an end marker: {name}")
