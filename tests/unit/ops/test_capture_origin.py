"""The image and the model of a capture, in an account in this process."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from lambda_src.shared.item import ImageRef
from lambda_src.shared.prediction_record import record_of
from lambda_src.shared.release_history import Record
from ops import aws
from ops.capture_origin import Origins
from ops.capture_source import CaptureSource
from ops.window import Window
from stacks.config import parse_environment
from tests.unit.lambda_src.monitoring.capture_records import put, record
from tests.unit.ops.conftest import run
from tests.unit.stored import create_bucket, place

BUCKET = "scones"
# In the past hour, as the command reads the last day
HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
Output = pytest.CaptureFixture[str]


def release(minute: int, job: str, status: str = "IN_SERVICE") -> None:
    time = (HOUR + timedelta(minutes=minute)).isoformat(timespec="milliseconds")
    found = Record(time, status, f"config-{job}", f"model-{job}", f"s3://{BUCKET}/models/{job}/output/model.tar.gz")
    place(BUCKET, found.key, json.dumps(vars(found)))


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ImageRef]]:
    """Two versions of one picture and one of another; captures of each, in the minutes 10, 20 and 30.

    The model job-a was in service from the start, job-b took its place from minute 15 to 25.
    """
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        create_bucket(BUCKET, is_versioned=True)
        monkeypatch.setattr(aws, "bucket", lambda _: BUCKET)
        keys = ("incoming/bike.png", "incoming/bike.png", "test/a b/moto.png")
        made = [ImageRef(BUCKET, key, place(BUCKET, key, b"pixels")) for key in keys]
        lines = [
            record(
                "[0.97, 0.03]" if number else "[0.3, 0.7]",
                time=HOUR + timedelta(minutes=10 * (number + 1)),
                eventId=f"event-{number}",
                inferenceId=image.inference_id,
            )
            for number, image in enumerate(made)
        ]
        put(*lines, hour=HOUR, bucket=BUCKET)
        release(0, "job-a")
        release(15, "job-a", "UPDATING")
        release(25, "job-b")
        yield made


def test_json_has_the_object_and_the_model(images: list[ImageRef], capsys: Output) -> None:
    assert run("captures", "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["s3_key"], each["s3_version_id"]) for each in found] == [(i.key, i.version_id) for i in images]
    assert [each["model"] for each in found] == ["job-a", "job-a or job-b", "job-b"]


def test_csv_has_the_object_and_the_model(images: list[ImageRef], capsys: Output) -> None:
    assert run("captures", "--csv") == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [each["s3_key"] for each in found] == [image.key for image in images]
    assert [each["model"] for each in found] == ["job-a", "job-a or job-b", "job-b"]


def test_the_table_has_the_object_and_the_model(images: list[ImageRef], capsys: Output) -> None:
    assert run("captures") == 0
    shown = capsys.readouterr().out
    rows = re.findall(r"^\S+ \S+ +(.*?)  +(?:bicycle|motorcycle) .* ([A-C]) *$", shown, flags=re.MULTILINE)
    assert rows == [("incoming/bike.png", "A"), ("incoming/bike.png", "B"), ("test/a b/moto.png", "C")]
    assert "model A: job-a, 1 captures" in shown
    assert "model B: job-a or job-b, 1 captures" in shown


def test_the_gallery_has_the_object_and_the_model_and_marks_what_is_wrong_or_rejected(
    images: list[ImageRef], tmp_path: Path
) -> None:
    label = {"s3_key": "incoming/bike.png", "label": "bicycle"}
    place(BUCKET, "ground-truth/a.jsonl", json.dumps(label))
    target = tmp_path / "report.html"
    assert run("captures", "--html", target) == 0
    html = target.read_text(encoding="utf-8")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    assert len(captions) == 3
    texts = [re.sub(r"<.*?>", "|", caption.replace("<wbr>", "")) for caption in captions]
    assert "wrong: bicycle" in texts[0]
    assert "rejected" in texts[0]
    assert "incoming/bike.png" in texts[0]
    assert texts[0].endswith("|job-a")
    assert sum("rejected" in text for text in texts) == sum("wrong" in text for text in texts) == 1
    assert sum("correct" in text for text in texts) == 1
    assert "Models: " in html


def test_unknown_details_are_empty(images: list[ImageRef], capsys: Output) -> None:
    aws.s3().delete_object(Bucket=BUCKET, Key=images[2].key, VersionId=images[2].version_id or "")
    for found in aws.s3().list_objects_v2(Bucket=BUCKET, Prefix="releases/")["Contents"]:
        aws.s3().delete_object(Bucket=BUCKET, Key=found["Key"])
    assert run("captures", "--json") == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["s3_key"], last["model"]) == (None, None)
    assert run("captures") == 0
    assert "event event-2" in capsys.readouterr().out


def test_images_are_listed_only_until_the_one_is_found(images: list[ImageRef]) -> None:
    listed: list[ImageRef] = []

    def listing() -> Iterator[ImageRef]:
        for image in images:
            listed.append(image)
            yield image

    origins = Origins(listing())
    capture: Any = type("Capture", (), {"inference_id": images[1].inference_id})
    assert origins.image_of(capture) == images[1]
    assert origins.image_of(capture) == images[1]
    assert listed == images[:2]


def test_a_threshold_is_that_of_one_model(images: list[ImageRef], capsys: Output) -> None:
    labels = [{"s3_key": key, "label": "bicycle"} for key in {image.key for image in images}]
    place(BUCKET, "ground-truth/a.jsonl", "\n".join(map(json.dumps, labels)))
    assert run("threshold", "--source", "captures", "--accuracy", 1) == 0
    output = capsys.readouterr()
    assert "of the model job-b: 1 predictions" in output.out
    assert "Left out: 1 captures of job-a; `--model` chooses" in output.err
    assert "Left out: 1 captures of job-a or job-b;" in output.err
    assert run("threshold", "--source", "captures", "--model", "job-a", "--json") == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["predictions"] == 1
    assert judged["threshold"] is None  # its one answer is wrong


def test_without_data_capture_the_workflows_record_is_read_and_images_come_from_the_bucket(
    images: list[ImageRef], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    config = parse_environment("dev", {"endpoint": {"kind": "serverless"}})
    monkeypatch.setattr("ops.captures.load_environment", lambda _: config)
    monkeypatch.setattr(aws, "output", lambda *_: "filter-confidence")
    logs = aws.logs()
    logs.create_log_group(logGroupName="filter-confidence")
    logs.create_log_stream(logGroupName="filter-confidence", logStreamName="s")
    message = json.dumps({"Confidence": 0.7, **record_of(images[0], [0.3, 0.7])})
    logs.put_log_events(
        logGroupName="filter-confidence",
        logStreamName="s",
        logEvents=[{"timestamp": round(HOUR.timestamp() * 1000) + 1, "message": message}],
    )
    assert run("captures", "--json") == 0
    (found,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (found["s3_key"], found["s3_version_id"]) == (images[0].key, images[0].version_id)
    assert (found["label"], found["confidence"], found["model"]) == ("motorcycle", 0.7, "job-a")
    (capture,) = CaptureSource(config, Window(HOUR, HOUR + timedelta(hours=1)))
    assert Origins(images).picture_of(capture, at_most=len(b"pixels")) == b"pixels"
    assert Origins(images).picture_of(capture, at_most=1) is None
    aws.s3().delete_object(Bucket=BUCKET, Key=images[0].key, VersionId=images[0].version_id or "")
    assert Origins(images).picture_of(capture, at_most=1000) is None
