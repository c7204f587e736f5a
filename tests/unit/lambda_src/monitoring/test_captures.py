import base64
import itertools
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_src.monitoring import captures
from lambda_src.monitoring.captures import Capture, ParseErrors, read_captures, split_lines

CLASSES = ("bicycle", "motorcycle")
TIME = "2026-11-25T01:54:00Z"


def line(answer: str = "[0.25, 0.75]", encoding: str = "JSON", time: str = TIME, **metadata: Any) -> bytes:
    data = base64.b64encode(answer.encode()).decode() if encoding == "BASE64" else answer
    record = {
        "captureData": {
            "endpointInput": {
                "observedContentType": "application/x-image",
                "mode": "INPUT",
                "data": base64.b64encode(b"pixels").decode(),
                "encoding": "BASE64",
            },
            "endpointOutput": {
                "observedContentType": "application/json",
                "mode": "OUTPUT",
                "data": data,
                "encoding": encoding,
            },
        },
        "eventMetadata": {"eventId": "e1", "inferenceId": "i1", "inferenceTime": time, **metadata},
        "eventVersion": "0",
    }
    return json.dumps(record).encode()


def read(
    *lines: bytes, since: datetime | None = None, until: datetime | None = None
) -> tuple[list[Capture], ParseErrors]:
    parse_errors = ParseErrors()
    found = read_captures(lines, classes=CLASSES, parse_errors=parse_errors, name="f.jsonl", since=since, until=until)
    return list(found), parse_errors


@pytest.mark.parametrize("encoding", ["JSON", "BASE64"])
def test_a_response_is_decoded_by_its_encoding(encoding: str) -> None:
    (capture,), parse_errors = read(line(encoding=encoding))
    assert capture.time == datetime(2026, 11, 25, 1, 54, tzinfo=UTC)
    assert (capture.event_id, capture.inference_id) == ("e1", "i1")
    assert (capture.label, capture.confidence, capture.probabilities) == ("motorcycle", 0.75, [0.25, 0.75])
    assert capture.image() == b"pixels"
    assert parse_errors.count == 0


def test_a_response_in_csv_is_accepted() -> None:
    (capture,), _ = read(line("0.25,0.75\n", encoding="CSV"))
    assert capture.probabilities == [0.25, 0.75]


def test_all_lines_of_a_file_are_read_and_empty_ones_ignored() -> None:
    found, parse_errors = read(line(eventId="a"), b"", b" \r", line(eventId="b") + b"\r", line(eventId="c"))
    assert [capture.event_id for capture in found] == ["a", "b", "c"]
    assert parse_errors.count == 0


def test_a_caller_without_inference_id_and_a_capture_without_input() -> None:
    record = json.loads(line())
    del record["eventMetadata"]["inferenceId"], record["captureData"]["endpointInput"]
    (capture,), _ = read(json.dumps(record).encode())
    assert capture.inference_id is None
    assert capture.image() is None


def test_an_input_that_cannot_be_decoded_has_no_image() -> None:
    record = json.loads(line())
    record["captureData"]["endpointInput"]["data"] = "not base64!"
    (capture,), parse_errors = read(json.dumps(record).encode())
    assert capture.image() is None
    assert parse_errors.count == 0


@pytest.mark.parametrize(
    ("malformed", "reason"),
    [
        (line()[:-20], "delimiter|Unterminated|Expecting"),
        (b"\xff\xfe\x00", "decode"),
        (b"[1, 2]", "not a capture"),
        (b'{"captureData": {}}', "not a capture: KeyError"),
        (b'{"captureData": null, "eventMetadata": null}', "not a capture: TypeError"),
        (b"[" * 100_000, "nested too deeply"),
        (line(time="yesterday"), "yesterday"),
        (line(time="0001-01-01T00:00:00+10:00"), "date value"),
        (line(inferenceTime=5), "not a capture: TypeError"),
        (line("[0.2, 0.2]"), "sum to 0.4"),
        (line("[1.0]"), "must return 2 probabilities"),
        (line("<html>"), "not JSON"),
        (line(encoding="ROT13"), "'ROT13', not BASE64"),
    ],
)
def test_a_malformed_line_is_counted_and_named_and_stops_nothing(malformed: bytes, reason: str) -> None:
    found, parse_errors = read(line(), malformed, line())
    assert len(found) == 2
    assert parse_errors.count == 1
    assert re.search(reason, parse_errors.examples[0])
    assert parse_errors.examples[0].startswith("f.jsonl, line 2: ")


@pytest.mark.parametrize("output", [None, "text", {"encoding": "JSON"}, {"encoding": "BASE64", "data": "?"}])
def test_an_output_without_a_response_is_a_parse_error(output: object) -> None:
    record = json.loads(line())
    record["captureData"]["endpointOutput"] = output
    found, parse_errors = read(json.dumps(record).encode())
    assert (found, parse_errors.count) == ([], 1)


def test_only_the_first_malformed_lines_are_kept() -> None:
    _, parse_errors = read(*[b"?"] * 1000)
    assert parse_errors.count == 1000
    assert len(parse_errors.examples) == 5


def test_the_window_includes_its_start_and_excludes_its_end() -> None:
    lines = [line(time=f"2026-11-25T0{hour}:00:00Z") for hour in range(5)]
    found, _ = read(*lines, since=datetime(2026, 11, 25, 1, tzinfo=UTC), until=datetime(2026, 11, 25, 3, tzinfo=UTC))
    assert [capture.time.hour for capture in found] == [1, 2]


@pytest.mark.parametrize("text", ["2026-11-25T03:54:00+02:00", "2026-11-25T01:54:00", "2026-11-25T01:54:00.000Z"])
def test_times_are_in_utc(text: str) -> None:
    (capture,), _ = read(line(time=text))
    assert capture.time == datetime(2026, 11, 25, 1, 54, tzinfo=timezone(timedelta(0)))
    assert capture.time.tzinfo is UTC


@given(st.lists(st.binary(max_size=6)), st.lists(st.integers(0, 60)))
def test_lines_are_split_wherever_the_chunks_end(lines: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(lines)
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(edges)]
    expected = data.split(b"\n")
    assert list(split_lines(chunks)) == (expected if expected[-1] else expected[:-1])


def test_only_the_beginning_of_a_file_without_line_ends_is_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "MAX_LINE_BYTES", 5000)
    chunks = (b"x" * 1000 for _ in range(100_000))
    (held,) = split_lines(chunks)
    assert len(held) <= 6000
    found, parse_errors = read(held, line())
    assert len(found) == 1
    assert parse_errors.examples == ["f.jsonl, line 1: longer than any request can be"]


def test_a_line_after_one_that_is_too_long_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "MAX_LINE_BYTES", 5000)
    *_, last = split_lines([*(b"x" * 1000 for _ in range(10)), b"x\n" + line()[:9], line()[9:] + b"\n"])
    assert last == line()
