import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from lambda_src import captures
from lambda_src.captures import DamagedCaptureError, parse_capture, read_captures

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "the-bucket"
START = datetime(2026, 1, 2, 3, 30, tzinfo=UTC)
END = datetime(2026, 1, 2, 5, 30, tzinfo=UTC)


def record(
    answer: str = "[0.97, 0.03]",
    *,
    time: datetime = START,
    encoding: str = "JSON",
    image: bytes = b"\x89PNG",
    **metadata: str,
) -> dict[str, Any]:
    """A capture as SageMaker documents it."""
    return {
        "captureData": {
            "endpointInput": {
                "observedContentType": "application/x-image",
                "mode": "INPUT",
                "data": base64.b64encode(image).decode(),
                "encoding": "BASE64",
            },
            "endpointOutput": {
                "observedContentType": "application/json",
                "mode": "OUTPUT",
                "data": answer,
                "encoding": encoding,
            },
        },
        "eventMetadata": {"eventId": "e-1", "inferenceTime": time.strftime("%Y-%m-%dT%H:%M:%SZ"), **metadata},
        "eventVersion": "0",
    }


@pytest.fixture
def s3() -> Iterator["S3Client"]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def put(s3: "S3Client", *records: object, hour: datetime, variant: str = "AllTraffic", name: str = "a.jsonl") -> None:
    body = "".join(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in records)
    key = f"data-capture/scones-dev/{variant}/{hour:%Y/%m/%d/%H}/{name}"
    s3.put_object(Bucket=BUCKET, Key=key, Body=body.encode())


def read(s3: "S3Client") -> tuple[list[captures.Capture], list[str]]:
    damaged: list[str] = []
    found = list(
        read_captures(
            s3,
            BUCKET,
            "scones-dev",
            start=START,
            end=END,
            damaged=lambda key, reason: damaged.append(f"{key}: {reason}"),
        )
    )
    return found, damaged


def test_a_record_in_sagemakers_format() -> None:
    capture = parse_capture(json.dumps(record(inferenceId="i-1")))
    assert capture.time == START
    assert (capture.event_id, capture.inference_id) == ("e-1", "i-1")
    assert capture.probabilities == [0.97, 0.03]
    assert capture.image == b"\x89PNG"


def test_an_answer_that_is_not_declared_as_json_is_base64() -> None:
    encoded = base64.b64encode(b"[0.5, 0.5]").decode()
    assert parse_capture(json.dumps(record(encoded, encoding="BASE64"))).probabilities == [0.5, 0.5]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        json.dumps(record("[]")),
        json.dumps(record("{}")),
        json.dumps(record('["a"]')),
        json.dumps(record("0.97")),
        json.dumps(record("!", encoding="BASE64")),
        json.dumps(record(encoding="XML")),
        json.dumps({**record(), "eventMetadata": {"eventId": "e", "inferenceTime": "yesterday"}}),
        json.dumps({"captureData": {}, "eventMetadata": {}}),
    ],
)
def test_a_damaged_line_is_named(line: str) -> None:
    with pytest.raises(DamagedCaptureError):
        parse_capture(line)


def test_every_record_of_every_file_and_variant_within_the_window(s3: "S3Client") -> None:
    put(s3, record(eventId="1"), record(eventId="2"), hour=START)
    put(s3, record(eventId="3", time=END - timedelta(seconds=1)), hour=END)
    put(s3, record(eventId="4", time=START + timedelta(hours=1)), hour=START + timedelta(hours=1), variant="Canary")
    put(s3, record(eventId="late", time=END - timedelta(seconds=1)), hour=END + timedelta(hours=1))
    found, damaged = read(s3)
    assert sorted(capture.event_id for capture in found) == ["1", "2", "3", "4", "late"]
    assert damaged == []


def test_what_lies_outside_the_window_is_not_returned(s3: "S3Client") -> None:
    put(s3, record(time=START - timedelta(seconds=1)), record(time=START), hour=START)
    put(s3, record(time=END), hour=END)
    assert len(read(s3)[0]) == 1


def test_hours_before_the_window_are_not_even_opened(s3: "S3Client") -> None:
    put(s3, "damaged", hour=START - timedelta(hours=1))
    put(s3, "damaged", hour=END + timedelta(hours=2))
    assert read(s3) == ([], [])


def test_damaged_lines_are_counted_and_the_rest_is_read(s3: "S3Client") -> None:
    put(s3, record(), "{half", "", record(), hour=START)
    found, damaged = read(s3)
    assert len(found) == 2
    assert len(damaged) == 1
    assert damaged[0].startswith("data-capture/scones-dev/AllTraffic/2026/01/02/03/a.jsonl: JSONDecodeError")


def test_more_files_than_one_listing_holds(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1001):
        put(s3, record(), hour=START, name=f"{number}.jsonl")
    assert len(list(captures.capture_keys(s3, BUCKET, "scones-dev", start=START, end=END))) == 1001


def test_no_captures_at_all(s3: "S3Client") -> None:
    assert read(s3) == ([], [])
