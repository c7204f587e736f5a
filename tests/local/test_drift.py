"""Drift, end to end: real requests, the drift monitor with its role, the alarm, the topic's message."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from local.cloud import LocalCloud, LocalCloudError
from local.demonstration import Environment, Inbox
from local.drift import Phase, alarm_name, check_for_drift, run_scenario
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
def phases() -> dict[str, Phase]:
    """The phases of the scenario, filled by the test that runs it."""
    return {}


def test_normal_traffic_raises_no_alarm_and_drifted_traffic_raises_one(
    baseline: None, environment: Environment, inbox: Inbox, dataset: Path, phases: dict[str, Phase]
) -> None:
    run_scenario(environment, dataset, lambda title, phase: phases.update({title: phase}))
    usual, drifted = phases.values()
    assert usual.report["score"] < 0.25 <= drifted.report["score"]
    assert (usual.alarm_state, drifted.alarm_state) == ("OK", "ALARM")
    assert usual.alarms == []
    (message,) = drifted.alarms
    assert message["AlarmName"] == "scones-dev-drift"
    assert message["AlarmDescription"].endswith("docs/runbook.md#drift")
    # The same message reached whoever else is subscribed
    assert [alarm["AlarmName"] for alarm in inbox.alarms()] == [alarm_name(environment)]


def test_the_scenario_is_not_repeated_while_its_alarm_is_on(
    environment: Environment, dataset: Path, phases: dict[str, Phase]
) -> None:
    with pytest.raises(LocalCloudError, match="is in ALARM already, after drift in the last hour"):
        run_scenario(environment, dataset, lambda *_: pytest.fail("sent traffic"))


def test_the_report_shows_the_score_of_both_kinds_of_traffic(
    environment: Environment, phases: dict[str, Phase], tmp_path: Path
) -> None:
    since = next(iter(phases.values())).report["start"]
    captures(env=environment.config.name, since=since, html=tmp_path / "drift.html")
    html = (tmp_path / "drift.html").read_text(encoding="utf-8")
    images = sum(phase.images for phase in phases.values())
    assert f'<dd class="value">{images:,}</dd>' in html
    assert "<td>stable</td>" in html
    assert "<td>drift</td>" in html
    assert "scheduled/at-night/" in html
    assert f"Models: scones-{environment.config.name}-" in html


def test_the_reports_are_in_the_bucket(environment: Environment, phases: dict[str, Phase]) -> None:
    stored = [
        json.loads(boto3.client("s3").get_object(Bucket=environment.bucket, Key=key)["Body"].read())
        for key in environment.keys("monitoring/drift/")
    ]
    assert [report["verdict"] for report in stored if report["requests"]][-2:] == ["stable", "drift"]
    assert all(phase.report in stored for phase in phases.values())


def test_the_metrics_of_the_functions_are_in_cloudwatch(environment: Environment, phases: dict[str, Phase]) -> None:
    metrics = boto3.client("cloudwatch").list_metrics(Namespace=environment.config.metric_namespace)["Metrics"]
    assert {"ImagesAccepted", "ImagesRejected", "Confidence", "DriftScore", "CapturedRequests", "UnderThreshold"} <= {
        metric["MetricName"] for metric in metrics
    }


def test_no_request_within_the_window_is_missed(environment: Environment) -> None:
    end = datetime.now(UTC) + timedelta(seconds=1)
    before = len(environment.recorded_inference_ids())
    report = check_for_drift(environment, start=end - timedelta(hours=6), end=end)
    after = len(environment.recorded_inference_ids())  # requests of other tests may be recorded meanwhile
    assert 0 < before <= report["requests"] <= after


def test_labels_become_an_accuracy(environment: Environment, phases: dict[str, Phase]) -> None:
    requests = environment.recorded_inference_ids()
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
