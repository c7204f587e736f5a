"""The endpoint's data capture, read as a stream: any number of records in the memory of one.

One JSON object a line, many lines a file, below `data-capture/<endpoint>/<variant>/YYYY/MM/DD/HH/`. Format:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "data-capture/"
_CHUNK_BYTES = 1 << 20
_HOUR = timedelta(hours=1)


class DamagedCaptureError(ValueError):
    """When a line is no capture of one answered request; the message says why."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One request and its answer. `time` is UTC, in whole seconds; `probabilities` are in label order."""

    time: datetime
    event_id: str
    inference_id: str | None
    probabilities: list[float]
    endpoint_input: dict[str, Any] | None

    @property
    def image(self) -> bytes | None:
        """The image that was asked about, if inputs are captured."""
        return _payload(self.endpoint_input) if self.endpoint_input else None


def parse_capture(line: str | bytes) -> Capture:
    """One line of a file; raises DamagedCaptureError."""
    try:
        record = json.loads(line)
        data, metadata = record["captureData"], record["eventMetadata"]
        probabilities = json.loads(_payload(data["endpointOutput"]))
        if not isinstance(probabilities, list) or not probabilities:
            raise DamagedCaptureError(f"the answer is no list of probabilities: {str(probabilities)[:60]}")
        return Capture(
            time=datetime.fromisoformat(metadata["inferenceTime"]).astimezone(UTC),
            event_id=metadata["eventId"],
            inference_id=metadata.get("inferenceId"),
            probabilities=[float(p) for p in probabilities],
            endpoint_input=data.get("endpointInput"),
        )
    except DamagedCaptureError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedCaptureError(f"{type(error).__name__}: {error}") from error


def _payload(part: dict[str, Any]) -> bytes:
    """Decoded as its `encoding` says, never by guess."""
    data: str = part["data"]
    match part["encoding"]:
        case "BASE64":
            return base64.b64decode(data, validate=True)
        case "JSON" | "CSV":
            return data.encode()
        case encoding:
            raise DamagedCaptureError(f"unknown encoding {encoding!r}")


def capture_keys(s3: "S3Client", bucket: str, endpoint: str, *, start: datetime, end: datetime) -> Iterator[str]:
    """The files that may hold captures from `start` until before `end`, of every variant."""
    root = f"{PREFIX}{endpoint}/"
    pages = s3.get_paginator("list_objects_v2")
    variants = [
        common["Prefix"]
        for page in pages.paginate(Bucket=bucket, Prefix=root, Delimiter="/")
        for common in page.get("CommonPrefixes", [])
    ]
    hour = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour < end + _HOUR:  # a request at the end of an hour may be written in the next
        for variant in variants:
            for page in pages.paginate(Bucket=bucket, Prefix=f"{variant}{hour:%Y/%m/%d/%H}/"):
                yield from (entry["Key"] for entry in page.get("Contents", []) if entry["Key"].endswith(".jsonl"))
        hour += _HOUR


def read_captures(
    s3: "S3Client",
    bucket: str,
    endpoint: str,
    *,
    start: datetime,
    end: datetime,
    damaged: Callable[[str, str], None],
) -> Iterator[Capture]:
    """Every capture of `endpoint` with start <= time < end. `damaged` is told file and reason of each bad line."""
    for key in capture_keys(s3, bucket, endpoint, start=start, end=end):
        lines = s3.get_object(Bucket=bucket, Key=key)["Body"].iter_lines(_CHUNK_BYTES)
        for capture in parse_captures(lines, damaged=lambda reason, key=key: damaged(key, reason)):  # type: ignore[misc]
            if start <= capture.time < end:
                yield capture


def parse_captures(lines: Iterable[bytes], *, damaged: Callable[[str], None]) -> Iterator[Capture]:
    """The captures of one file. `damaged` is told the reason of each bad line."""
    for line in lines:
        if not line.strip():
            continue
        try:
            yield parse_capture(line)
        except DamagedCaptureError as error:
            damaged(str(error))
