"""Drift, end to end: real requests, the drift monitor in its role, the alarm, the message of the topic."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from local.cloud import LocalCloud, LocalCloudError
from local.demonstration import Environment, Inbox
from local.drift import Chapter, alarm_name, check_for_drift, tell_story
from ops.captures import captures
from stacks.config import PROJECT_ROOT


@pytest.fixture(scope="module")
def baseline(cloud: LocalCloud) -> None:
    subprocess.run(
        [sys.executable, "-m", "data_prep", "baseline", "--env", "dev"],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        check=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def chapters() -> dict[str, Chapter]:
    """What the story told, filled by the test that tells it."""
    return {}


def test_usual_traffic_is_no_alarm_and_drifted_traffic_is_one(
    baseline: None, environment: Environment, inbox: Inbox, dataset: Path, chapters: dict[str, Chapter]
) -> None:
    tell_story(environment, dataset, lambda title, chapter: chapters.update({title: chapter}))
    usual, drifted = chapters.values()
    assert usual.report["score"] < 0.25 <= drifted.report["score"]
    assert (usual.alarm_state, drifted.alarm_state) == ("OK", "ALARM")
    assert usual.alarms == []
    (message,) = drifted.alarms
    assert message["AlarmName"] == "scones-dev-drift"
    assert message["AlarmDescription"].endswith("docs/runbook.md#drift")
    # The same message reached whoever else is subscribed
    assert [alarm["AlarmName"] for alarm in inbox.alarms()] == [alarm_name(environment)]


def test_the_scenario_is_not_repeated_while_its_alarm_is_on(
    environment: Environment, dataset: Path, chapters: dict[str, Chapter]
) -> None:
    with pytest.raises(LocalCloudError, match="is on already, after drift of the last hour"):
        tell_story(environment, dataset, lambda *_: pytest.fail("sent traffic"))


def test_the_report_shows_the_score_of_both_kinds_of_traffic(
    environment: Environment, chapters: dict[str, Chapter], tmp_path: Path
) -> None:
    since = next(iter(chapters.values())).report["start"]
    captures(env=environment.config.name, since=since, html=tmp_path / "drift.html")
    html = (tmp_path / "drift.html").read_text(encoding="utf-8")
    images = sum(chapter.images for chapter in chapters.values())
    assert f'<dd class="value">{images:,}</dd>' in html
    assert "<td>stable</td>" in html
    assert "<td>drift</td>" in html
    assert "scheduled/at-night/" in html
    assert f"Models: scones-{environment.config.name}-" in html


def test_the_reports_are_in_the_bucket(environment: Environment, chapters: dict[str, Chapter]) -> None:
    stored = [
        json.loads(boto3.client("s3").get_object(Bucket=environment.bucket, Key=key)["Body"].read())
        for key in environment.keys("monitoring/drift/")
    ]
    assert [report["verdict"] for report in stored if report["requests"]][-2:] == ["stable", "drift"]
    assert all(chapter.report in stored for chapter in chapters.values())


def test_the_metrics_of_the_functions_are_in_cloudwatch(environment: Environment, chapters: dict[str, Chapter]) -> None:
    metrics = boto3.client("cloudwatch").list_metrics(Namespace=environment.config.metric_namespace)["Metrics"]
    assert {"ImagesAccepted", "ImagesRejected", "Confidence", "DriftScore", "CapturedRequests", "UnderThreshold"} <= {
        metric["MetricName"] for metric in metrics
    }


def test_no_request_within_the_window_is_missed(environment: Environment) -> None:
    end = datetime.now(UTC) + timedelta(seconds=1)
    report = check_for_drift(environment, start=end - timedelta(hours=6), end=end)
    assert report["requests"] == len(environment.captured_inference_ids())


def test_labels_become_an_accuracy(environment: Environment, chapters: dict[str, Chapter]) -> None:
    requests = environment.captured_inference_ids()
    lines = [
        json.dumps({"groundTruthData": {"data": "bicycle"}, "eventMetadata": {"eventId": request}})
        for request in requests
    ]
    s3 = boto3.client("s3")
    s3.put_object(Bucket=environment.bucket, Key="ground-truth/all-bicycles.jsonl", Body="\n".join(lines).encode())
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName="scones-dev-Monitoring")["Stacks"]
    (name,) = [output["OutputValue"] for output in stack["Outputs"] if output["OutputKey"] == "ModelAccuracyName"]
    end = datetime.now(UTC) + timedelta(seconds=1)
    window = {"start": (end - timedelta(hours=6)).isoformat(), "end": end.isoformat()}
    response = boto3.client("lambda").invoke(FunctionName=name, Payload=json.dumps(window).encode())
    report = json.loads(response["Payload"].read())
    assert "FunctionError" not in response, report
    assert report["labelled"] == len(requests)
    assert report["correct"] == report["confusion"][0][0]
    assert report["confusion"][1] == [0, 0]
    assert 0 < report["correct"] < report["labelled"]
    assert environment.keys("monitoring/accuracy/")
    metrics = boto3.client("cloudwatch").list_metrics(Namespace=environment.config.metric_namespace)["Metrics"]
    assert {"LabelledAnswers", "CorrectAnswers"} <= {metric["MetricName"] for metric in metrics}
