"""The workflow's record of its predictions: the monitors read what FilterConfidence wrote."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws

from lambda_src.classification import filter_confidence
from lambda_src.monitoring import model_accuracy
from lambda_src.monitoring.captures import ParseErrors
from lambda_src.monitoring.drift_monitor import count_captures
from lambda_src.monitoring.ground_truth import label_line
from lambda_src.monitoring.prediction_log import read_log
from lambda_src.shared import aws
from lambda_src.shared.errors import LowConfidenceError
from lambda_src.shared.item import ImageRef
from tests.unit.stand_in import client_for

GROUP, STREAM = "filter-confidence", "stream"
CLASSES = ("bicycle", "motorcycle")
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
END = START + timedelta(hours=2)
IMAGES = [ImageRef("the-bucket", f"incoming/{number}.png", f"v{number}") for number in range(4)]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An account with the log group and the bucket, of a serverless endpoint; its Logs client."""
    monkeypatch.setenv("ENDPOINT_KIND", "serverless")
    monkeypatch.setenv("RECORD_LOCATION", f"log-group:{GROUP}")
    with mock_aws():
        logs, s3 = client_for("logs"), client_for("s3")
        monkeypatch.setattr(aws, "logs", lambda: logs)
        monkeypatch.setattr(aws, "s3", lambda: s3)
        s3.create_bucket(Bucket="the-bucket")
        logs.create_log_group(logGroupName=GROUP)
        logs.create_log_stream(logGroupName=GROUP, logStreamName=STREAM)
        yield logs


def line_of(image: ImageRef, probabilities: list[float]) -> str:
    """What FilterConfidence prints of a prediction."""
    item = {"s3_bucket": image.bucket, "s3_key": image.key, "s3_version_id": image.version_id}
    confidence = max(probabilities)
    label = CLASSES[probabilities.index(confidence)]
    with redirect_stdout(io.StringIO()) as printed, suppress(LowConfidenceError):
        filter_confidence.handler({**item, "inferences": probabilities, "label": label, "confidence": confidence}, None)
    return printed.getvalue()


def write(logs: Any, *lines: str, at: datetime = START) -> None:
    events: Any = [{"timestamp": round(at.timestamp() * 1000), "message": line} for line in lines]
    logs.put_log_events(logGroupName=GROUP, logStreamName=STREAM, logEvents=events)


def read(logs: Any, parse_errors: ParseErrors | None = None) -> Any:
    return list(
        read_log(logs, GROUP, classes=CLASSES, parse_errors=parse_errors or ParseErrors(), since=START, until=END)
    )


def test_a_written_prediction_is_read_with_its_time_whether_accepted_or_rejected(log: Any) -> None:
    write(log, line_of(IMAGES[0], [0.97, 0.03]), "REPORT RequestId: 1 Duration: 3 ms", line_of(IMAGES[1], [0.4, 0.6]))
    found = read(log)
    assert [(each.label, each.confidence, each.probabilities) for each in found] == [
        ("bicycle", 0.97, [0.97, 0.03]),
        ("motorcycle", 0.6, [0.4, 0.6]),
    ]
    assert [each.inference_id for each in found] == [image.inference_id for image in IMAGES[:2]]
    assert {each.time for each in found} == {START}
    assert found[0].image() is None


def test_the_window_begins_with_its_start_and_ends_before_its_end(log: Any) -> None:
    for image, at in zip(IMAGES, (START - timedelta(milliseconds=1), START, END), strict=False):
        write(log, line_of(image, [0.97, 0.03]), at=at)
    assert [each.inference_id for each in read(log)] == [IMAGES[1].inference_id]


@pytest.mark.parametrize(
    "line",
    ['{"InferenceId": "x"}', '{"InferenceId": "x", "Probabilities": [0.5]}', '{"InferenceId": ', '["InferenceId"]'],
)
def test_a_malformed_line_is_counted_and_stops_nothing(log: Any, line: str) -> None:
    write(log, line, line_of(IMAGES[0], [0.97, 0.03]))
    parse_errors = ParseErrors()
    assert len(read(log, parse_errors)) == 1
    assert parse_errors.count == 1


def test_the_service_is_asked_for_records_of_the_window_only_page_by_page() -> None:
    logs = client_for("logs")
    request = {
        "logGroupName": GROUP,
        "filterPattern": '{ $.InferenceId = "*" }',
        "startTime": round(START.timestamp() * 1000),
        "endTime": round(END.timestamp() * 1000) - 1,
    }
    event = {"logStreamName": STREAM, "timestamp": 1, "eventId": "1"}
    message = json.dumps({"InferenceId": "a", "Probabilities": [1, 0]})
    with Stubber(logs) as stubber:
        stubber.add_response("filter_log_events", {"events": [], "nextToken": "more"}, request)
        stubber.add_response(
            "filter_log_events", {"events": [{**event, "message": message}]}, {**request, "nextToken": ANY}
        )
        assert len(read(logs)) == 1
        stubber.assert_no_pending_responses()


def test_the_drift_monitor_counts_them_as_it_counts_captures(log: Any) -> None:
    write(log, line_of(IMAGES[0], [0.97, 0.03]), at=START)
    write(log, line_of(IMAGES[1], [0.4, 0.6]), at=END - timedelta(minutes=1))
    window = count_captures(START, END, None)
    assert (window.requests, window.last_hour, window.under_threshold) == (2, 1, 1)
    assert window.tally.class_counts == [1, 1]


def test_labels_are_joined_with_them_as_with_captures(log: Any) -> None:
    write(log, line_of(IMAGES[0], [0.97, 0.03]), line_of(IMAGES[1], [0.4, 0.6]), line_of(IMAGES[2], [0.9, 0.1]))
    labels = "\n".join(label_line(image, "bicycle") for image in IMAGES[:2])
    aws.s3().put_object(Bucket="the-bucket", Key="ground-truth/labels.jsonl", Body=labels.encode())
    report = model_accuracy.handler({"start": START.isoformat(), "end": END.isoformat()}, None)
    assert (report["labelled"], report["correct"]) == (2, 1)
