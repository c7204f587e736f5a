"""One target for each reader of untrusted bytes: the properties that hold for any bytes, and the seeds of the search.

The seeds are good inputs and the smallest bad ones found so far; tests/unit/test_fuzz_seeds.py runs them in every
`make test`, and `python -m tests.fuzz` (`make fuzz`) searches on from them.
"""

import gzip
import io
import json
import math
import random
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from data_prep import cifar, pickles
from data_prep.errors import ArchiveError
from lambda_src.classification import serialize_image_data
from lambda_src.monitoring.captures import ParseErrors, read_captures, split_lines
from lambda_src.monitoring.ground_truth import read_labels
from lambda_src.shared import metrics
from lambda_src.shared.errors import CorruptImageError, ImageTooLargeError, InvalidInputError
from lambda_src.shared.image_format import MAX_PIXELS, check_image, image_size
from lambda_src.shared.item import ImageRef
from lambda_src.shared.json_reader import DocumentError, read_json
from lambda_src.shared.stored_image import StoredImage
from tests.unit.data_prep.test_cifar import batch, parts
from tests.unit.data_prep.test_pickles import HOSTILE
from tests.unit.lambda_src.monitoring.capture_records import record
from tests.unit.lambda_src.shared.test_image_format import encoded

CLASSES = ("bicycle", "motorcycle")


@dataclass(frozen=True)
class Target:
    """A reader. Blind mutation seldom keeps an input well-formed, so that it ends at the first check.

    check: raises unless all holds that must. repair: an input made well-formed again. vary: another well-formed one.
    """

    check: Callable[[bytes], None]
    seeds: list[bytes]
    repair: Callable[[bytes], bytes] | None = None
    vary: Callable[[bytes, random.Random], bytes] | None = None


def _image(data: bytes) -> None:
    with suppress(CorruptImageError, ImageTooLargeError):
        check_image(data, name="image")
        size = image_size(data)
        assert 0 < math.prod(size) <= MAX_PIXELS
        # A decoder may refuse more than the structure shows; what it takes must be what was checked
        with (
            suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError),
            Image.open(io.BytesIO(data)) as seen,
        ):
            assert seen.format not in {"PNG", "JPEG"} or seen.size == size


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of their content."""
    result, position = bytearray(data), 8
    while position + 12 <= len(result):
        (length,) = struct.unpack_from(">I", result, position)
        end = position + 8 + length
        if end + 4 > len(result) or not data.startswith(b"\x89PNG"):
            break
        struct.pack_into(">I", result, end, zlib.crc32(result[position + 4 : end]))
        position = end + 4
    return bytes(result)


def _pickle(data: bytes) -> None:
    with tempfile.TemporaryFile() as file, suppress(ArchiveError):
        file.write(data)
        file.seek(0)
        _assert_plain(pickles.load(file))


def _assert_plain(value: object) -> None:
    """It is made of what a batch of CIFAR-100 is made of, and of nothing that has methods of its own."""
    pending, seen = [value], set[int]()
    while pending:
        found = pending.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        match found:
            case dict():
                pending += [*found, *found.values()]
            case list() | tuple():
                pending += found
            case pickles.Array():
                assert found.pixels.dtype == np.uint8
                assert found.pixels.ndim == 2
            case _:
                # The two classes and what they are made from are harmless, and refused a step later
                assert found is None or type(found) in {bytes, int, bool, np.memmap, pickles.Dtype, type}, type(found)


def _archive(data: bytes) -> None:
    """Of a tar, which is packed here: mutated gzip fails its checksum."""
    with tempfile.TemporaryDirectory() as folder, suppress(ArchiveError):
        path = Path(folder, "archive.tar.gz")
        path.write_bytes(data if data.startswith(b"\x1f\x8b") else gzip.compress(data, 1))
        archive = cifar.read_archive(path)
        for split in archive.splits.values():
            assert len(split.filenames) == len(split.labels) == len(split.rows)
            assert all(0 <= label < len(archive.class_names) for label in split.labels)
            assert all(split.pixels(row).shape == (32, 32, 3) for row in range(len(split.rows)))


def _with_headers(data: bytes) -> bytes:
    """A tar whose headers have the checksums of their content."""
    result, position = bytearray(data), 0
    while position + 512 <= len(result):
        header = result[position : position + 512]
        header[148:156] = b" " * 8
        result[position + 148 : position + 156] = b"%06o\0 " % sum(header)
        with suppress(ValueError):
            position += 512 + -(-int(header[124:135], 8) // 512) * 512
            continue
        break
    return bytes(result)


def _captures(data: bytes) -> None:
    lines = list(split_lines(data[start : start + 7] for start in range(0, len(data), 7)))
    assert lines == data.removesuffix(b"\n").split(b"\n") or not data.strip(b"\n")
    parse_errors = ParseErrors()
    captures = list(read_captures(lines, classes=CLASSES, parse_errors=parse_errors, name="file"))
    assert len(captures) + parse_errors.count == sum(bool(line.strip(b" \t\n\r\x0b\f")) for line in lines)
    for capture in captures:
        assert capture.time.tzinfo is UTC
        assert capture.confidence == max(capture.probabilities) == capture.probabilities[CLASSES.index(capture.label)]
        assert abs(math.fsum(capture.probabilities) - 1) < 0.01
        assert isinstance(capture.image(), bytes | None)
        f"{capture.event_id}{capture.inference_id}".encode()  # keys of the database, text of a report


def _labels(data: bytes) -> None:
    parse_errors = ParseErrors()
    for label in read_labels(data.split(b"\n"), classes=CLASSES, bucket="b", parse_errors=parse_errors, name="file"):
        assert label.label in range(len(CLASSES))
        assert bool(label.request) != bool(label.image)
        if label.image:
            assert len(label.image.inference_id) == 64
        if label.request:
            label.request.encode()  # a key of the database


def _document(data: bytes) -> None:
    with suppress(DocumentError):
        json.dumps(read_json(io.BytesIO(data), name="document"), allow_nan=False)


IMAGE = encoded("PNG", (2, 2))


def _start_input(data: bytes) -> None:
    """The first function of the workflow, with what a user starts an execution with."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return  # Step Functions takes JSON only
    stored = StoredImage(IMAGE, "v1", datetime(2026, 1, 1, tzinfo=UTC))
    with (
        mock.patch.object(serialize_image_data, "read_image", return_value=stored),
        mock.patch.object(metrics, "publish"),
        suppress(InvalidInputError, ImageTooLargeError),
    ):
        item = serialize_image_data.handler(event, None)
        assert len(json.dumps(item, ensure_ascii=False).encode("utf-8", "surrogatepass")) <= 262_144
        image = ImageRef.of(item)
        assert (image.bucket, image.key, image.version_id) == (event["s3_bucket"], event["s3_key"], "v1")
        assert len(image.prediction_key.encode()) <= 1024


ODD: list[Any] = [
    *(None, True, 0, -1, 1e308, 10**30, 0.5, "", "x" * 2000, "bicycle", "1", "1.0", "²", "\ud83d", "\x00", [], {}),
    *(
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2026-W01-1",
        "[0.5, 0.5]",
        "[1e999, 0]",
        "BASE64",
        "CSV",
    ),
]


def varied_json(data: bytes, chance: random.Random) -> bytes:
    """One value of one of the lines replaced, removed or nested."""
    lines = data.split(b"\n")
    number = chance.randrange(len(lines))
    try:
        value = [json.loads(lines[number])]
    except (ValueError, RecursionError):
        return data
    places = list(_places(value))
    parent, name = chance.choice(places)
    match chance.randrange(4):
        case 0 if isinstance(parent, dict):
            del parent[name]
        case 1:
            parent[name] = [parent[name]]
        case 2:
            source, member = chance.choice(places)
            parent[name] = json.loads(json.dumps(source[member]))
        case _:
            parent[name] = chance.choice(ODD)
    lines[number] = json.dumps(value[0]).encode()
    return b"\n".join(lines)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for name, member in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, name
        if isinstance(member, dict | list):
            yield from _places(member)


def _text(*values: object) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values)


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    content = b""
    for info, data in members:
        info.size = len(data)
        content += info.tobuf() + data + bytes(-len(data) % 512)
    return content + bytes(1024)


HALF = "\ud83d"  # of a surrogate pair, which JSON can escape and nothing can encode
NESTED = b"[" * 100_000
CAPTURE = record()
LABELS = (
    {"groundTruthData": {"data": "motorcycle", "encoding": "CSV"}, "eventMetadata": {"eventId": "e"}},
    {"s3_bucket": "b", "s3_key": "incoming/a.png", "s3_version_id": "v", "label": "1"},
)
INPUT = {"image_data": "", "s3_bucket": "b", "s3_key": "test/bike é.png", "ticket": {"number": [7]}}

TARGETS = {
    "images": Target(
        _image,
        [
            IMAGE,
            encoded("PNG", (3, 2), "RGBA"),
            encoded("JPEG", (9, 8)),
            encoded("JPEG", (9, 8), "CMYK", progressive=True),
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8" + b"\xff" * 99,
        ],
        repair=_with_checksums,
    ),
    "pickles": Target(
        _pickle,
        [batch(), pickles.dumps([{b"a": [1, b"x" * 2000]}]), *(b"\x80\x02" + body for body in HOSTILE.values())],
    ),
    "archive": Target(
        _archive,
        [
            _tar(*parts()),
            _tar(*parts(meta=b"")),
            _tar(*parts(train=batch(fine_labels=[0, -1], batch_label=b"x"))),
            gzip.compress(b"", mtime=0),
            gzip.compress(_tar(*parts()), mtime=0)[:-9],
            # A skipped member of 2 ** 62 bytes
            _tar(*parts())[:124] + b"\x80" + (2**62).to_bytes(11, "big") + _tar(*parts())[136:512],
        ],
        repair=_with_headers,
    ),
    "captures": Target(
        _captures,
        [_text(CAPTURE), _text(CAPTURE, {}), _text(record(inferenceId=HALF)), NESTED, b"\n \n\xff", b"1\n\n"],
        vary=varied_json,
    ),
    "labels": Target(
        _labels,
        [
            _text(*LABELS),
            _text({**LABELS[0], "eventMetadata": {"eventId": HALF}}),
            NESTED,
            b"\xef\xbb\xbf" + _text(LABELS[1]),
        ],
        vary=varied_json,
    ),
    "documents": Target(_document, [_text(LABELS[0]), NESTED, b'{"a": NaN}', b'{"a": 1e999}'], vary=varied_json),
    "start-inputs": Target(
        _start_input, [_text(INPUT), _text([INPUT]), _text({"s3_key": "k" * 901})], vary=varied_json
    ),
}
