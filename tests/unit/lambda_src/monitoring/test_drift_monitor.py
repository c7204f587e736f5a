import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto import mock_aws

from lambda_src.monitoring.drift_monitor import BaselineMissingError, handler
from lambda_src.shared import aws
from lambda_src.shared.baseline import Baseline, BaselineError
from tests.unit.lambda_src.monitoring.capture_records import put, record
from tests.unit.lambda_src.monitoring.test_drift import answers
from tests.unit.stand_in import client_for
from tests.unit.stored import create_bucket, place

END = datetime(2026, 1, 2, 9, tzinfo=UTC)
EVENT = {"time": "2026-01-02T09:00:00Z"}
BASELINE_KEY = "models/job-1/baseline.json"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An account with the bucket; its S3 client."""
    with mock_aws():
        s3, ssm = client_for("s3"), client_for("ssm")
        monkeypatch.setattr(aws, "s3", lambda: s3)
        monkeypatch.setattr(aws, "ssm", lambda: ssm)
        create_bucket("the-bucket")
        yield s3


@pytest.fixture
def s3(cloud: Any) -> Any:
    """The account with a baseline of 400 answers."""
    base = Baseline.of(answers(random.Random(1), 400), classes=("bicycle", "motorcycle"), artifact_uri="s3://b/m")
    store_baseline(base.to_json())
    return cloud


def store_baseline(content: str) -> None:
    place("the-bucket", BASELINE_KEY, content)
    aws.ssm().put_parameter(Name="/scones/dev/model/baseline-key", Value=BASELINE_KEY, Type="String", Overwrite=True)


def traffic(size: int, *, at: datetime = END - timedelta(hours=1), **how: Any) -> None:
    found = answers(random.Random(2), size, **how)
    put(*(record(json.dumps(pair), time=at) for pair in found), hour=at, name=f"{size}-{at:%H%M}.jsonl")


def published(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    return {name: line[name] for name in names}


def test_traffic_like_the_validation_images_is_stable(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    traffic(1000)
    report = handler(EVENT, None)
    assert report["verdict"] == "stable"
    values = published(capsys)
    assert values["DriftScore"] == pytest.approx(report["score"], abs=1e-4)
    assert values["DriftScore"] < 0.1
    assert values["CapturedRequests"] == 1000
    assert values["UnderThreshold"] == pytest.approx(100 * 0.8**8, abs=5)  # of this distribution


def test_traffic_with_low_confidence_is_drift(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    traffic(1000, sharpness=1)
    report = handler(EVENT, None)
    assert report["verdict"] == "drift"
    assert report["confidence"]["psi"] > report["classes"]["psi"]
    assert published(capsys)["DriftScore"] >= 0.25


def test_more_of_one_class_is_drift(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    traffic(1000, share=0.9)
    report = handler(EVENT, None)
    assert report["verdict"] == "drift"
    assert report["classes"]["psi"] > report["confidence"]["psi"]
    assert report["classes"]["names"] == ("bicycle", "motorcycle")
    assert report["classes"]["counts"][0] > 850


def test_too_few_requests_have_no_score(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    traffic(20, sharpness=1)
    report = handler(EVENT, None)
    assert report["verdict"] == "too few requests"
    assert report["minimum_requests"] > 20
    values = published(capsys)
    assert "DriftScore" not in values
    assert values["CapturedRequests"] == 20


def test_silence_is_published_as_zero(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    report = handler(EVENT, None)
    assert (report["requests"], report["under_threshold_percent"]) == (0, None)
    assert published(capsys) == {"CapturedRequests": 0}


def test_the_window_is_the_configured_hours_before_the_event(s3: Any) -> None:
    traffic(10, at=END - timedelta(hours=6))
    traffic(5, at=END - timedelta(hours=6, seconds=1))
    traffic(3, at=END)
    assert handler(EVENT, None)["requests"] == 10


def test_the_captures_of_the_last_hour_are_counted_so_that_hours_add_up(
    s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    traffic(10, at=END - timedelta(hours=1))
    traffic(5, at=END - timedelta(hours=1, seconds=1))
    assert handler(EVENT, None)["requests"] == 15
    assert published(capsys)["CapturedRequests"] == 10


def test_a_window_of_ones_own(s3: Any) -> None:
    traffic(10, at=END - timedelta(hours=2))
    traffic(5, at=END - timedelta(minutes=30))
    report = handler({**EVENT, "start": (END - timedelta(hours=1)).isoformat()}, None)
    assert report["requests"] == 5
    assert report["start"] == "2026-01-02T08:00:00+00:00"


def test_without_an_event_time_the_window_ends_now(s3: Any) -> None:
    before = datetime.now(UTC)
    assert before <= datetime.fromisoformat(handler({}, None)["end"]) <= datetime.now(UTC)


def test_the_report_is_stored_under_the_windows_end(s3: Any) -> None:
    traffic(1000)
    report = handler(EVENT, None)
    stored = s3.get_object(Bucket="the-bucket", Key="monitoring/drift/2026/01/02/090000.json")["Body"].read()
    assert json.loads(stored) == json.loads(json.dumps(report))


def test_malformed_captures_and_those_of_other_classes_are_counted(s3: Any) -> None:
    put(record(time=END - timedelta(hours=1)), "{half", hour=END - timedelta(hours=1))
    three = record("[0.2, 0.3, 0.5]", time=END - timedelta(hours=1))
    put(three, hour=END - timedelta(hours=1), name="b.jsonl")
    report = handler(EVENT, None)
    assert (report["requests"], report["malformed_captures"]) == (1, 2)


def test_without_a_baseline_captures_are_counted_and_the_run_fails(
    cloud: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    traffic(30)
    with pytest.raises(BaselineMissingError, match="/scones/dev/model/baseline-key names no readable baseline"):
        handler(EVENT, None)
    assert published(capsys)["CapturedRequests"] == 30


def test_a_baseline_that_is_gone_fails_the_run(s3: Any) -> None:
    s3.delete_object(Bucket="the-bucket", Key=BASELINE_KEY)
    with pytest.raises(BaselineMissingError):
        handler(EVENT, None)


def test_a_baseline_of_other_classes_fails_the_run(cloud: Any) -> None:
    base = Baseline.of(answers(random.Random(1), 40), classes=("bus", "tram"), artifact_uri="s3://b/m")
    store_baseline(base.to_json())
    with pytest.raises(BaselineError, match="has the classes bus, tram, not bicycle, motorcycle"):
        handler(EVENT, None)
