"""Parses data capture: lines of JSON in, one record per request out.

Format: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html. Every line of every
file is one request:

    {"captureData": {"endpointInput": {"observedContentType": "application/x-image", "encoding": "BASE64", "data": ...},
                     "endpointOutput": {"observedContentType": "application/json", "encoding": "JSON", "data": ...}},
     "eventMetadata": {"eventId": ..., "inferenceId": ..., "inferenceTime": "2026-11-25T01:54:00Z"}, ...}

It streams, so that only one line is in memory, whatever the number and size of the files.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lambda_src.shared.errors import InvalidPredictionError
from lambda_src.shared.json_reader import parse_json
from lambda_src.shared.predictions import best_class, parse_probabilities

# A real-time request has at most 25 MB, in base64 34 MB. A longer line is not a request but a corrupt file.
MAX_LINE_BYTES = 40 * 2**20


class Capture(NamedTuple):
    """One captured request and its response."""

    time: datetime  # of the inference, in UTC
    event_id: str
    inference_id: str | None  # ImageRef.inference_id, if the workflow sent the request
    label: str
    confidence: float
    probabilities: list[float]  # in label order
    captured_input: dict[str, Any] | None

    def image(self) -> bytes | None:
        """The request's image, if it was captured and is valid base64. It is decoded only here, on demand."""
        if self.captured_input is None:
            return None
        try:
            return _decoded(self.captured_input)
        except ValueError:
            return None


@dataclass
class ParseErrors:
    """How many lines could not be parsed, and what is wrong with the first few."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, where: str, reason: object) -> None:
        self.count += 1
        if len(self.examples) < 5:
            self.examples.append(f"{where}: {reason}")


def read_captures(
    lines: Iterable[bytes],
    *,
    classes: tuple[str, ...],
    parse_errors: ParseErrors,
    name: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[Capture]:
    """Parse the lines of the file `name`; yields the captures with since <= time < until.

    Malformed lines are counted in `parse_errors` and skipped. `classes` are in label order.
    """
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        try:
            capture = parse_capture(line, classes)
        except (ValueError, OverflowError, InvalidPredictionError) as error:
            parse_errors.add(f"{name}, line {number}", error)
            continue
        if (since is None or since <= capture.time) and (until is None or capture.time < until):
            yield capture


def parse_capture(line: bytes, classes: tuple[str, ...]) -> Capture:
    """Parse one line.

    Raises ValueError, OverflowError (for a time out of range) or InvalidPredictionError if it is not the capture of a
    prediction with these classes.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ValueError("longer than any request can be")
    record = parse_json(line)
    try:
        data, metadata = record["captureData"], record["eventMetadata"]
        output, event_id = data["endpointOutput"], metadata["eventId"]
        time = datetime.fromisoformat(metadata["inferenceTime"])
        captured_input, inference_id = data.get("endpointInput"), metadata.get("inferenceId")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a capture: {error!r}") from None
    probabilities = parse_probabilities(_response(output), classes)
    label, confidence = best_class(probabilities)
    return Capture(
        time if time.tzinfo is UTC else _in_utc(time),
        str(event_id),
        None if inference_id is None else str(inference_id),
        classes[label],
        confidence,
        probabilities,
        captured_input if isinstance(captured_input, dict) else None,
    )


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a byte stream, without their line ends. A line over MAX_LINE_BYTES is cut, but stays over it."""
    pending: list[bytes] = []
    held = 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        if held <= MAX_LINE_BYTES:  # keeps one chunk beyond the limit, so that parse_capture detects the long line
            pending.append(first)
            held += len(first)
        if others:
            yield b"".join(pending)
            yield from others[:-1]
            pending, held = [others[-1]], len(others[-1])
    if held:
        yield b"".join(pending)


def _in_utc(time: datetime) -> datetime:
    # SageMaker writes "Z"; a time without a zone is taken as UTC
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _response(output: Any) -> bytes | str:
    """The response as JSON text; raises ValueError."""
    if not isinstance(output, dict):
        raise ValueError(f"endpointOutput is {type(output).__name__}, not an object")
    if output.get("encoding") == "JSON" and isinstance(output.get("data"), str):
        return str(output["data"])
    data = _decoded(output)
    is_csv = output.get("encoding") == "CSV" or str(output.get("observedContentType")).startswith("text/csv")
    return b"[" + data.strip() + b"]" if is_csv else data


def _decoded(payload: dict[str, Any]) -> bytes:
    """The payload's bytes, decoded according to its `encoding`; raises ValueError."""
    encoding, data = payload.get("encoding"), payload.get("data")
    if not isinstance(data, str):
        raise ValueError(f"data is {type(data).__name__}, not text")
    match encoding:
        case "BASE64":
            return base64.b64decode(data, validate=True)
        case "JSON" | "CSV":
            return data.encode()
        case _:
            raise ValueError(f"encoding is {encoding!r}, not BASE64, JSON or CSV")
