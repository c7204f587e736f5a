"""Images as they may arrive, each with what it is stored as, what its requests meet, and the outcome it must have."""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import boto3

from lambda_src.classification.serialize_image_data import MAX_IMAGE_BYTES
from lambda_src.shared.item import ImageRef
from local.cloud import LocalCloud
from local.demonstration import Environment
from local.sagemaker.fault import Fault

Item = dict[str, Any]


@dataclass(frozen=True)
class ImageCase:
    """One kind of image; `stored` makes its object from a good PNG, and None stores none."""

    name: str
    outcome: str
    error: str | None = None
    key: str = "{folder}/{number}.png"
    stored: Callable[[bytes], bytes] | None = bytes
    faults: tuple[Fault, ...] = ()
    requests: int = 1  # that the endpoint must see
    item: Callable[[Item], Any] = dict


@dataclass(frozen=True)
class PlacedImage:
    """An image in the bucket, and the item that names it."""

    case: ImageCase
    key: str
    version_id: str | None
    inference_id: str
    item: Any


def place(
    environment: Environment, cloud: LocalCloud, cases: Sequence[ImageCase], *, good: bytes, folder: str
) -> list[PlacedImage]:
    """Store the cases' objects below a folder of their own, and order their faults."""
    placed = []
    for number, case in enumerate(cases):
        key = case.key.replace("{folder}", folder).replace("{number}", str(number))
        version_id = None
        if case.stored:
            body = case.stored(good)
            version_id = boto3.client("s3").put_object(Bucket=environment.bucket, Key=key, Body=body)["VersionId"]
        inference_id = ImageRef(environment.bucket, key, version_id).inference_id
        item = case.item({"image_data": "", "s3_bucket": environment.bucket, "s3_key": key})
        placed.append(PlacedImage(case, key, version_id, inference_id, item))
        faults = [Fault(**{**vars(fault), "inference_id": inference_id}) for fault in case.faults]
        if faults:
            cloud.order_faults(environment.config.endpoint_name, *faults)
    return placed


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def padded(size: int) -> Callable[[bytes], bytes]:
    """The same picture in exactly `size` bytes."""
    end = _chunk(b"IEND", b"")

    def pad(png: bytes) -> bytes:
        room = size - len(png) - 12
        return png.removesuffix(end) + _chunk(b"tEXt", b"Comment\0" + b"x" * (room - 8)) + end

    return pad


def bomb(_: bytes) -> bytes:
    """A valid PNG of a few kilobytes that unpacks to 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def hollow(png: bytes) -> bytes:
    """Valid in structure, so that only a decoder finds out that there are no pixels."""
    return png[:33] + _chunk(b"IDAT", b"no pixels") + _chunk(b"IEND", b"")


def answers(body: str) -> tuple[Fault, ...]:
    return (Fault(status=200, body=body),)


def _case(name: str, error: str, **rest: Any) -> ImageCase:
    return ImageCase(name, "FAILED", error, **rest)


GOOD = ImageCase("good", "ACCEPTED")
MISSING = _case("missing", "ImageNotFoundError", stored=None, requests=0)

OBJECTS = [
    MISSING,
    _case("access denied", "ImageAccessDeniedError", key="models/{folder}/{number}.png", requests=0),
    _case("zero bytes", "CorruptImageError", stored=lambda _: b"", requests=0),
    _case("truncated", "CorruptImageError", stored=lambda png: png[: len(png) // 2], requests=0),
    _case("one byte changed", "CorruptImageError", stored=lambda png: png[:-20] + b"\0" + png[-19:], requests=0),
    _case("text", "CorruptImageError", stored=lambda _: b"I am no image", requests=0),
    _case("decompression bomb", "ImageTooLargeError", stored=bomb, requests=0),
    ImageCase("just under the limit", "ACCEPTED", stored=padded(MAX_IMAGE_BYTES)),
    _case("just over the limit", "ImageTooLargeError", stored=padded(MAX_IMAGE_BYTES + 1), requests=0),
    _case("whole header, no picture", "ImageRefusedError", stored=hollow),
]


KEYS = [
    ImageCase(f"key with {name}", "ACCEPTED", key="{folder}/{number} " + text + ".png")
    for name, text in (
        ("spaces", "  my bike "),
        ("quotes", '"it\'s" `quoted`'),
        ("plus", "a+b++c"),
        ("percent", "100%25%zz%"),
        ("newline", "two\nlines"),
        ("emoji", "🚲🏍️ é ß 日本"),
        ("slashes and dots", "a//b/../c/./d"),
        ("query", "a?b=c&d#e;f"),
        ("JSONata", "{% $states.input %}"),
        ("braces", "${AWS::Region} <x> \\ |"),
    )
]

ENDPOINT = [
    _case("endpoint 400", "ImageRefusedError", faults=(Fault(status=400, body="bad image"),)),
    ImageCase("endpoint 500 once", "ACCEPTED", faults=(Fault(status=500),), requests=2),
    ImageCase("endpoint 500 three times", "ACCEPTED", faults=(Fault(status=500),) * 3, requests=4),
    # The SDK tries a throttled request once more by itself
    ImageCase(
        "throttled once", "ACCEPTED", faults=(Fault(status=400, service_error="ThrottlingException"),), requests=2
    ),
    ImageCase("503 once", "ACCEPTED", faults=(Fault(status=503, service_error="ServiceUnavailable"),), requests=2),
    ImageCase("connection closed once", "ACCEPTED", faults=(Fault(hangs_up=True),), requests=2),
    _case(
        "no such endpoint", "EndpointMisconfiguredError", faults=(Fault(status=400, service_error="ValidationError"),)
    ),
    _case("endpoint denies", "EndpointMisconfiguredError", faults=(Fault(status=403, service_error="AccessDenied"),)),
]

ANSWERS = [
    *[
        _case(f"answer is {name}", "InvalidPredictionError", faults=answers(body))
        for name, body in (
            ("garbage", "<html>502 Bad Gateway</html>"),
            ("empty", ""),
            ("cut off", "[0.9, 0."),
            ("NaN", "[NaN, 0.5]"),
            ("infinite", "[Infinity, 0.0]"),
            ("negative", "[1.5, -0.5]"),
            ("too short", "[1.0]"),
            ("too long", "[0.2, 0.3, 0.5]"),
            ("not summing to 1", "[0.9, 0.9]"),
            ("all zero", "[0.0, 0.0]"),
            ("text", '["0.9", "0.1"]'),
            ("booleans", "[true, false]"),
            ("null", "null"),
            ("an object", '{"predictions": [0.9, 0.1]}'),
            ("nested", "[[0.9, 0.1]]"),
            ("huge", "[" + "0.0," * 200_000 + "1.0]"),
        )
    ],
    ImageCase("confidence equal to the threshold", "ACCEPTED", faults=answers("[0.9, 0.1]")),
    ImageCase(
        "confidence just under the threshold", "REJECTED", "LowConfidenceError", faults=answers("[0.8999, 0.1001]")
    ),
    ImageCase("both equally likely", "REJECTED", "LowConfidenceError", faults=answers("[0.5, 0.5]")),
]


def _item(name: str, item: Callable[[Item], Any]) -> ImageCase:
    return _case(f"item {name}", "InvalidInputError", item=item, requests=0)


def _without(key: str) -> Callable[[Item], Any]:
    return lambda item: {name: value for name, value in item.items() if name != key}


def _with(**values: Any) -> Callable[[Item], Any]:
    return lambda item: {**item, **values}


ITEMS = [
    _item("without key", _without("s3_key")),
    _item("without bucket", _without("s3_bucket")),
    _item("with an empty key", _with(s3_key="")),
    _item("with a number as key", _with(s3_key=7)),
    _item("with null as key", _with(s3_key=None)),
    _item("with a list as key", _with(s3_key=["test/a.png", "test/b.png"])),
    _item("with an object as bucket", _with(s3_bucket={"name": "b"})),
    _item("with an impossible bucket", _with(s3_bucket="no bucket/at all")),
    _item("with a key beyond S3's limit", _with(s3_key="test/" + "k" * 1020)),
    _item("that is empty", lambda _: {}),
    _item("that is a string", lambda item: item["s3_key"]),
    _item("that is a number", lambda _: 42),
    _item("that is null", lambda _: None),
    _item("that is a list", lambda item: [item]),
    _case(
        "item that leaves its image no room",
        "ImageTooLargeError",
        stored=padded(MAX_IMAGE_BYTES),
        item=_with(comment="x" * 9_000),
        requests=0,
    ),
    ImageCase("item without image_data", "ACCEPTED", item=_without("image_data")),
    ImageCase(
        "item with extra keys", "ACCEPTED", item=_with(note={"from": ["a", 1, None]}, outcome="FAILED", error="x")
    ),
    ImageCase("item with answers of its own", "ACCEPTED", item=_with(inferences=[0.5, 0.5], confidence=0.1, label="x")),
    ImageCase("item with image_data of its own", "ACCEPTED", item=_with(image_data="bm8gaW1hZ2U=")),
    _case(
        "item with a version that is not there", "ImageNotFoundError", item=_with(s3_version_id="0" * 32), requests=0
    ),
]

# These retry until nothing is left, or wait for a time-out: 8 requests are 4 attempts of the workflow, each repeated
# once by the SDK
EXHAUSTING = [
    _case("endpoint 500 for good", "EndpointUnavailableError", faults=(Fault(status=500),) * 4, requests=4),
    _case(
        "throttled for good",
        "EndpointUnavailableError",
        faults=(Fault(status=400, service_error="ThrottlingException"),) * 8,
        requests=8,
    ),
    _case(
        "503 for good",
        "EndpointUnavailableError",
        faults=(Fault(status=503, service_error="ServiceUnavailable"),) * 8,
        requests=8,
    ),
    _case("connection closed for good", "EndpointUnavailableError", faults=(Fault(hangs_up=True),) * 8, requests=8),
    ImageCase("slow once", "ACCEPTED", faults=(Fault(status=200, body="[1.0, 0.0]", delay_seconds=6),), requests=2),
    _case(
        "slow for good",
        "EndpointUnavailableError",
        faults=(Fault(status=200, body="[1.0, 0.0]", delay_seconds=6),) * 8,
        requests=8,
    ),
    # Each byte comes in time, the whole answer never does: only the function's own time-out ends this
    _case("dripping", "Sandbox.Timedout", faults=(Fault(status=200, body="[1.0, 0.0]", drip_seconds=3),)),
]

CASES = [GOOD, *OBJECTS, *KEYS, *ENDPOINT, *ANSWERS, *ITEMS]
