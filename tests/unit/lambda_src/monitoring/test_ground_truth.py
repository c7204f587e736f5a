import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from lambda_src.monitoring.captures import Capture, ParseErrors
from lambda_src.monitoring.ground_truth import (
    GroundTruth,
    Label,
    label_line,
    parse_label,
    read_bucket_labels,
    read_labels,
)
from lambda_src.shared.errors import InvalidInputError
from lambda_src.shared.item import ImageRef
from tests.unit.stand_in import client_for

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CLASSES = ("bicycle", "motorcycle")
IMAGE = ImageRef("b", "incoming/bike.png", "v1")


def of_request(request: str, label: object) -> bytes:
    return json.dumps(
        {
            "groundTruthData": {"data": label, "encoding": "CSV"},
            "eventMetadata": {"eventId": request},
            "eventVersion": "0",
        }
    ).encode()


def capture(event_id: str = "e", inference_id: str | None = None) -> Capture:
    return Capture(datetime(2026, 1, 1, tzinfo=UTC), event_id, inference_id, "bicycle", 0.9, [0.9, 0.1], None)


def truth(*lines: bytes) -> GroundTruth:
    truth, parse_errors = GroundTruth(), ParseErrors()
    truth.add(read_labels(lines, classes=CLASSES, bucket="b", parse_errors=parse_errors, name="f"))
    assert parse_errors.count == 0
    return truth


def test_a_label_is_joined_by_inference_id_by_event_id_and_by_image() -> None:
    known = truth(of_request("i1", "motorcycle"), of_request("e2", "0"), label_line(IMAGE, "motorcycle").encode())
    assert known.label_of(capture("e1", "i1")) == 1
    assert known.label_of(capture("e2", "i2")) == 0
    assert known.label_of(capture("e3", IMAGE.inference_id)) == 1
    assert known.label_of(capture("e4")) is None
    known.close()


def test_another_version_of_an_image_has_no_label_yet() -> None:
    known = truth(label_line(IMAGE, "motorcycle").encode())
    assert known.label_of(capture("e", ImageRef("b", "incoming/bike.png", "v2").inference_id)) is None


def test_a_later_label_overrules() -> None:
    known = truth(of_request("i1", "motorcycle"), b"", of_request("i1", "bicycle"))
    assert known.label_of(capture("e1", "i1")) == 0
    assert known.size == 1


def test_without_labels_nothing_is_known() -> None:
    assert truth().label_of(capture()) is None


def test_an_image_is_in_the_bucket_unless_it_names_another() -> None:
    here, elsewhere = b'{"s3_key": "k", "label": "bicycle"}', b'{"s3_bucket": "c", "s3_key": "k", "label": 1}'
    assert parse_label(here, CLASSES, "b") == Label(0, None, ImageRef("b", "k", None))
    assert parse_label(elsewhere, CLASSES, "b") == Label(1, None, ImageRef("c", "k", None))


def test_an_image_of_no_class_has_no_label() -> None:
    known = truth(b'{"s3_key": "k", "s3_version_id": "v", "label": null}', of_request("i1", 1))
    assert known.size == 1


def test_more_labels_than_are_stored_at_once() -> None:
    known = truth(*(of_request(f"i{number}", number % 2) for number in range(25_000)))
    assert known.size == 25_000
    assert known.label_of(capture("e", "i24999")) == 1


@pytest.mark.parametrize("label", ["bicycle", "0", 0, 0.0, " bicycle\n"])
def test_a_label_is_a_name_or_an_index(label: object) -> None:
    assert parse_label(of_request("i", label), CLASSES, "b") == Label(0, "i", None)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        of_request("i", "train"),
        of_request("i", "2"),
        of_request("i", "-1"),
        of_request("i", None),
        of_request("", "bicycle"),
        b'{"groundTruthData": {"data": "bicycle"}, "eventMetadata": {"eventId": 5}}',
        b'{"groundTruthData": null, "eventMetadata": {"eventId": "e"}}',
        b'{"label": "bicycle"}',
        b'{"label": null}',
    ],
)
def test_a_malformed_line_is_counted(line: bytes) -> None:
    with pytest.raises((ValueError, InvalidInputError)):
        parse_label(line, CLASSES, "b")
    parse_errors = ParseErrors()
    lines = [of_request("i", 1), line]
    assert len(list(read_labels(lines, classes=CLASSES, bucket="b", parse_errors=parse_errors, name="f"))) == 1
    assert parse_errors.examples[0].startswith("f, line 2: ")


@pytest.fixture
def s3() -> Iterator["S3Client"]:
    with mock_aws():
        client = client_for("s3")
        client.create_bucket(Bucket="labels")
        yield client


def test_files_of_days_before_the_window_are_not_read(s3: "S3Client") -> None:
    def put(key: str, *lines: bytes) -> None:
        s3.put_object(Bucket="labels", Key=f"ground-truth/{key}", Body=b"\n".join(lines))

    put("2026/01/01/23/a.jsonl", of_request("old", 0))
    put("2026/01/02/00/a.jsonl", of_request("new", 0), b"?")
    put("by-hand.jsonl", of_request("undated", 0))
    put("empty.jsonl")
    put("notes.txt", b"?")
    parse_errors = ParseErrors()
    labels: Any = read_bucket_labels(
        s3, "labels", classes=CLASSES, parse_errors=parse_errors, since=datetime(2026, 1, 2, 5, tzinfo=UTC)
    )
    assert [label.request for label in labels] == ["new", "undated"]
    assert parse_errors.count == 1


def test_a_review_is_of_the_day_on_which_it_was_written(s3: "S3Client") -> None:
    s3.put_object(Bucket="labels", Key="ground-truth/reviews/a.jsonl", Body=of_request("reviewed", 0))
    now = datetime.now(UTC)

    def requests(since: datetime) -> list[str | None]:
        labels = read_bucket_labels(s3, "labels", classes=CLASSES, parse_errors=ParseErrors(), since=since)
        return [label.request for label in labels]

    assert requests(now) == ["reviewed"]
    assert requests(now + timedelta(days=2)) == []
