import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto import mock_aws

from lambda_src.monitoring.model_accuracy import handler
from lambda_src.shared import aws
from tests.unit.lambda_src.monitoring.capture_records import put, record
from tests.unit.stand_in import client_for
from tests.unit.stored import create_bucket, place

# A day after the window's end, in which labels had their time to arrive
EVENT = {"time": "2026-01-03T09:00:00Z"}
END = datetime(2026, 1, 2, 9, tzinfo=UTC)
BICYCLE, MOTORCYCLE = "[0.9, 0.1]", "[0.2, 0.8]"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with mock_aws():
        client = client_for("s3")
        monkeypatch.setattr(aws, "s3", lambda: client)
        create_bucket("the-bucket")
        yield client


def capture(event_id: str, answer: str, *, at: datetime = END - timedelta(hours=1), **metadata: str) -> None:
    captured = record(answer, time=at)
    captured["eventMetadata"] |= {"eventId": event_id, **metadata}
    put(captured, hour=at, name=f"{event_id}.jsonl")


def label(*labels: tuple[str, str], name: str = "2026/01/02/a.jsonl") -> None:
    lines = [
        {"groundTruthData": {"data": true, "encoding": "CSV"}, "eventMetadata": {"eventId": event_id}}
        for event_id, true in labels
    ]
    place("the-bucket", f"ground-truth/{name}", "\n".join(map(json.dumps, lines)))


def published(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_labelled_predictions_are_counted_by_true_and_predicted_class(
    s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    capture("1", BICYCLE)
    capture("2", BICYCLE)
    capture("3", MOTORCYCLE)
    capture("unlabelled", MOTORCYCLE)
    label(("1", "bicycle"), ("2", "motorcycle"), ("3", "motorcycle"), ("never asked", "bicycle"))
    report = handler(EVENT, None)
    assert (report["labelled"], report["correct"], report["accuracy"]) == (3, 2, 0.6667)
    assert report["confusion"] == [[1, 0], [1, 1]]
    (line,) = published(capsys)
    assert (line["LabelledAnswers"], line["CorrectAnswers"]) == (3, 2)


def test_the_metric_has_the_time_of_the_predictions(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    capture("1", BICYCLE)
    label(("1", "bicycle"))
    handler(EVENT, None)
    (line,) = published(capsys)
    assert line["_aws"]["Timestamp"] == END.timestamp() * 1000


def test_an_inference_id_names_the_request_as_well(s3: Any) -> None:
    capture("1", BICYCLE, inferenceId="image-7")
    label(("image-7", "bicycle"))
    assert handler(EVENT, None)["correct"] == 1


def test_the_window_ends_as_long_ago_as_labels_have_to_arrive(s3: Any) -> None:
    capture("first", BICYCLE, at=END - timedelta(hours=6))
    capture("before", BICYCLE, at=END - timedelta(hours=6, seconds=1))
    capture("after", BICYCLE, at=END)
    label(*((name, "bicycle") for name in ("first", "before", "after")), name="late.jsonl")
    report = handler(EVENT, None)
    assert (report["start"], report["end"]) == ("2026-01-02T03:00:00+00:00", "2026-01-02T09:00:00+00:00")
    assert report["labelled"] == 1


def test_a_window_of_ones_own_for_labels_that_came_later_still(s3: Any) -> None:
    at = END - timedelta(days=5)
    capture("old", BICYCLE, at=at)
    label(("old", "bicycle"))
    event = {"start": (at - timedelta(hours=1)).isoformat(), "end": (at + timedelta(hours=1)).isoformat()}
    assert handler(event, None)["correct"] == 1


def test_the_report_is_stored_under_the_windows_end(s3: Any) -> None:
    capture("1", BICYCLE)
    label(("1", "bicycle"))
    report = handler(EVENT, None)
    stored = s3.get_object(Bucket="the-bucket", Key="monitoring/accuracy/2026/01/02/090000.json")["Body"].read()
    assert json.loads(stored) == json.loads(json.dumps(report))


def test_without_labels_nothing_is_said_and_no_capture_is_read(
    s3: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capture("1", BICYCLE)
    monkeypatch.setattr(
        "lambda_src.monitoring.model_accuracy.recorded_predictions",
        lambda *_: pytest.fail("read gigabytes for nothing"),
    )
    report = handler(EVENT, None)
    assert (report["labelled"], report["accuracy"]) == (0, None)
    assert published(capsys) == []
    assert "Contents" not in s3.list_objects_v2(Bucket="the-bucket", Prefix="monitoring/")


def test_parse_errors_are_counted_and_stop_nothing(s3: Any) -> None:
    capture("1", BICYCLE)
    put("{half", hour=END - timedelta(hours=1), name="bad.jsonl")
    label(("1", "bicycle"), ("2", "unicorn"))
    report = handler(EVENT, None)
    assert (report["labelled"], report["malformed_labels"], report["malformed_captures"]) == (1, 1, 1)
