"""Data capture in a bucket of moto's S3."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ResponseStreamingError
from moto import mock_aws

from lambda_src.monitoring import capture_store
from lambda_src.monitoring.capture_store import capture_files, read_bucket, read_chunks
from lambda_src.monitoring.captures import ParseErrors
from tests.unit.lambda_src.monitoring.test_captures import CLASSES, line
from tests.unit.stand_in import client_for
from tests.unit.stored import create_bucket, place

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "captures"
PREFIX = "data-capture/scones-dev/"
SINCE, UNTIL = datetime(2026, 11, 24, 23, 30, tzinfo=UTC), datetime(2026, 11, 25, 1, 30, tzinfo=UTC)


@pytest.fixture
def bucket() -> Iterator["S3Client"]:
    with mock_aws():
        client = client_for("s3")
        create_bucket(BUCKET)
        yield client


def put(hour: str, *lines: bytes, variant: str = "AllTraffic", name: str = "a.jsonl") -> None:
    place(BUCKET, f"{PREFIX}{variant}/{hour}/{name}", b"\n".join(lines) + b"\n")


def read(s3: "S3Client", parse_errors: ParseErrors | None = None) -> list[str]:
    found = read_bucket(
        s3, BUCKET, PREFIX, classes=CLASSES, parse_errors=parse_errors or ParseErrors(), since=SINCE, until=UNTIL
    )
    return [capture.event_id for capture in found]


def test_only_files_that_can_hold_the_window_are_listed(bucket: "S3Client") -> None:
    hours = ["2026/11/24/22", "2026/11/24/23", "2026/11/25/00", "2026/11/25/01", "2026/11/25/02", "2026/11/25/03"]
    for hour in hours:
        put(hour, line())
    put("2026/11/25/00", b"", name="notes.txt")
    place(BUCKET, f"{PREFIX}AllTraffic/2026/11/25/00/empty.jsonl", b"")
    place(BUCKET, "data-capture/scones-development/AllTraffic/2026/11/25/00/a.jsonl", b"")
    keys = [key for key, _ in capture_files(bucket, BUCKET, PREFIX, since=SINCE, until=UNTIL)]
    assert keys == [f"{PREFIX}AllTraffic/{hour}/a.jsonl" for hour in hours[1:5]]


def test_every_variant_and_every_page_is_read(bucket: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(capture_store._AHEAD * 3):
        put("2026/11/25/00", line(eventId=f"old {number}", time="2026-11-25T00:00:00Z"), name=f"{number}.jsonl")
    put("2026/11/25/01", line(eventId="new", time="2026-11-25T01:00:00Z"), variant="Canary")
    original = bucket.get_paginator

    def small_pages(name: Any) -> Any:
        paginator = original(name)
        paginate = paginator.paginate
        monkeypatch.setattr(paginator, "paginate", lambda **kw: paginate(**kw, PaginationConfig={"PageSize": 5}))
        return paginator

    monkeypatch.setattr(bucket, "get_paginator", small_pages)
    assert sorted(read(bucket)) == ["new", *sorted(f"old {number}" for number in range(24))]


def test_the_window_is_that_of_the_requests_not_of_the_files(bucket: "S3Client") -> None:
    put(
        "2026/11/24/23",
        line(eventId="before", time="2026-11-24T23:29:59Z"),
        line(eventId="first", time="2026-11-24T23:30:00Z"),
    )
    put(
        "2026/11/25/02",  # written after the hour struck
        line(eventId="last", time="2026-11-25T01:29:59Z"),
        line(eventId="after", time="2026-11-25T01:30:00Z"),
    )
    assert read(bucket) == ["first", "last"]


def test_large_files_are_not_held(bucket: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_store, "_SMALL_BYTES", 100)
    monkeypatch.setattr(capture_store, "_CHUNK_BYTES", 64)
    put("2026/11/25/00", *[line(eventId=str(n), time="2026-11-25T00:00:00Z") for n in range(20)])
    assert read(bucket) == [str(n) for n in range(20)]


def test_parse_errors_are_named_by_key(bucket: "S3Client") -> None:
    put("2026/11/25/00", b"?", line(time="2026-11-25T00:00:00Z"))
    parse_errors = ParseErrors()
    assert len(read(bucket, parse_errors)) == 1
    assert parse_errors.examples[0].startswith(f"{PREFIX}AllTraffic/2026/11/25/00/a.jsonl, line 1: ")


def test_a_caller_may_stop_early(bucket: "S3Client") -> None:
    for number in range(30):
        put("2026/11/25/00", line(eventId=str(number), time="2026-11-25T00:00:00Z"), name=f"{number:02}.jsonl")
    found = read_bucket(bucket, BUCKET, PREFIX, classes=CLASSES, parse_errors=ParseErrors(), since=SINCE, until=UNTIL)
    assert next(found).event_id == "0"
    found.close()  # type: ignore[attr-defined]  # a generator


def test_no_captures_are_no_error(bucket: "S3Client") -> None:
    assert read(bucket) == []


class Breaking:
    """An S3 whose connections break after two bytes, a number of times."""

    def __init__(self, data: bytes, breaks: int) -> None:
        self.data, self.breaks = data, breaks

    def get_object(self, **request: str) -> dict[str, Any]:
        self.position = int(request["Range"][len("bytes=") : -1])
        return {"Body": self}

    def iter_chunks(self, _size: int) -> Iterator[bytes]:
        if self.breaks:
            self.breaks -= 1
            yield self.data[self.position : self.position + 2]
            raise ResponseStreamingError(error="reset")
        yield self.data[self.position :]


def test_a_broken_connection_is_taken_up_where_it_broke() -> None:
    assert b"".join(read_chunks(Breaking(b"0123456789", 2), "b", "k")) == b"0123456789"  # type: ignore[arg-type]


def test_a_connection_that_keeps_breaking_is_given_up() -> None:
    with pytest.raises(ResponseStreamingError):
        list(read_chunks(Breaking(b"0123456789", 9), "b", "k"))  # type: ignore[arg-type]
