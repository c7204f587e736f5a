"""The commands of ops against the local cloud, as users run them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import boto3

from local.cloud import LocalCloud
from local.demonstration import Environment, wait_for
from ops import aws
from stacks.config import PROJECT_ROOT
from stacks.shared import prefixes
from tests.unit.ops.conftest import upload_event


def ops(cloud: LocalCloud, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def stream(cloud: LocalCloud, *arguments: str) -> dict[str, Any]:
    ended = ops(cloud, "generate", "stream", "--json", *arguments)
    assert ended.returncode == 0, ended.stderr
    summary: dict[str, Any] = json.loads(ended.stdout)
    return summary


def expected_bad(seed: str, count: int, share: float) -> int:
    return sum(random.Random(f"{seed}/{number}").random() < share for number in range(count))


def test_a_generated_case_runs_through_the_workflow(cloud: LocalCloud, environment: Environment) -> None:
    case = ops(cloud, "generate", "case", "--seed", "1").stdout
    assert case == ops(cloud, "generate", "case", "--seed", "1").stdout
    execution_input = json.loads(case)
    assert set(execution_input) == {"image_data", "s3_bucket", "s3_key"}
    execution = environment.execute(execution_input)
    assert [outcome["s3_key"] for outcome in execution.manifest["outcomes"]] == [execution_input["s3_key"]]


def test_a_generated_batch_names_different_images(cloud: LocalCloud) -> None:
    batch = json.loads(ops(cloud, "generate", "batch", "-n", "20", "--seed", "1").stdout)
    assert len({item["s3_key"] for item in batch["images"]}) == 20


def test_traffic_by_executions_counts_every_outcome(cloud: LocalCloud) -> None:
    summary = stream(cloud, "--rate", "10", "--duration", "4s", "--seed", "1", "--bad", "0.3")
    assert summary["sent"] == 40
    assert summary["not_sent"] == summary["unfinished"] == 0
    assert summary["accepted"] + summary["rejected"] + summary["failed"] == 40
    # What is bad depends on the seed alone, and all of it fails, and nothing else does
    assert summary["failed"] == sum(summary["errors"].values()) == expected_bad("1", 40, 0.3)
    assert set(summary["errors"]) == {"ImageNotFoundError", "ImageAccessDeniedError", "InvalidInputError"}
    assert summary["accepted"] > 10
    assert 0 < summary["latency_seconds"]["p50"] <= summary["latency_seconds"]["p99"]


def test_bulk_traffic_reads_its_counts_from_the_manifests(cloud: LocalCloud) -> None:
    summary = stream(cloud, "--rate", "50", "--duration", "1s", "--seed", "2", "--batch", "20")
    assert summary["sent"] == summary["accepted"] + summary["rejected"] == 50


def test_drifted_traffic_by_uploads_and_the_report_of_it(
    cloud: LocalCloud, environment: Environment, tmp_path: Path
) -> None:
    captured = len(environment.recorded_inference_ids())
    summary = stream(
        cloud, "--rate", "5", "--duration", "5s", "--seed", "3", "--drift", "noisier", "--bad", "0.2", "--label"
    )
    assert summary["sent"] == summary["accepted"] + summary["rejected"] + summary["failed"] == 25
    assert set(summary["errors"]) == {"CorruptImageError"}
    assert summary["failed"] == expected_bad("3", 25, 0.2)
    s3 = boto3.client("s3")
    bucket = environment.bucket
    labels = s3.list_objects_v2(Bucket=bucket, Prefix=prefixes.GROUND_TRUTH)["Contents"]
    lines = [
        line
        for entry in labels
        if summary["run"] in entry["Key"]
        for line in s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().splitlines()
    ]
    assert len(lines) == 25 - summary["failed"]
    wait_for(
        lambda: len(environment.recorded_inference_ids()) >= captured + len(lines) or None, f"{len(lines)} captures"
    )
    target = tmp_path / "report.html"
    assert ops(cloud, "captures", "--since", "1h", "--html", str(target)).returncode == 0
    report = target.read_text(encoding="utf-8")
    assert 'id="accuracy"' in report
    judged = ops(cloud, "threshold", "--source", "captures", "--since", "1h", "--json")
    assert json.loads(judged.stdout)["predictions"] >= len(lines)


def test_an_interruption_stops_sending_and_still_reports(cloud: LocalCloud, environment: Environment) -> None:
    began = time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "generate", "stream", "--rate", "5", "--duration", "10m", "--json"],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def answered() -> bool | None:
        succeeded = boto3.client("stepfunctions").list_executions(
            stateMachineArn=environment.state_machine_arn, statusFilter="SUCCEEDED"
        )["executions"]
        return any(e["name"].startswith("traffic-") and e["startDate"].timestamp() > began for e in succeeded) or None

    try:
        wait_for(answered, "the first execution of the stream")
    finally:
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in errors
    summary = json.loads(output)
    assert 0 < summary["sent"] < 3000
    assert summary["unfinished"] == 0


def test_an_upload_that_was_not_delivered_is_replayed(
    cloud: LocalCloud, environment: Environment, confident_images: list[str]
) -> None:
    queue_url = aws.output(environment.config, "Workflow", "UndeliveredEventsUrl")
    raw = upload_event(confident_images[0], identifier=str(uuid.uuid4()))
    raw["detail"]["bucket"]["name"] = environment.bucket
    head = boto3.client("s3").head_object(Bucket=environment.bucket, Key=confident_images[0])
    raw["detail"]["object"]["version-id"] = head["VersionId"]
    boto3.client("sqs").send_message(QueueUrl=queue_url, MessageBody=json.dumps(raw))
    ended = ops(cloud, "replay")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("1 started, 0 kept\n")
    arn = f"{environment.state_machine_arn.replace(':stateMachine:', ':execution:')}:{raw['id']}"
    execution = environment.follow(arn)
    assert [outcome["outcome"] for outcome in execution.manifest["outcomes"]] == ["ACCEPTED"]


def test_threshold_of_the_validation_images(cloud: LocalCloud) -> None:
    subprocess.run(
        [sys.executable, "-m", "data_prep", "baseline", "--env", "dev"],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        check=True,
        timeout=180,
    )
    judged = json.loads(ops(cloud, "threshold", "--json", "--accuracy", "0.9").stdout)
    assert judged["predictions"] >= 40
    points = judged["points"]
    assert [p["rejected"] for p in points] == sorted(p["rejected"] for p in points)
    assert judged["threshold"]["accuracy"] >= 0.9


def test_an_environment_that_is_not_deployed_is_named(cloud: LocalCloud) -> None:
    ended = ops(cloud, "generate", "case", "--env", "prod")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: stack scones-prod-Data is not deployed")


def test_sent_images_do_not_depend_on_time(cloud: LocalCloud) -> None:
    first = stream(cloud, "--rate", "10", "--duration", "1s", "--seed", "9", "--bad", "0.5")
    again = stream(cloud, "--rate", "20", "--duration", "0.5s", "--seed", "9", "--bad", "0.5")
    counted = ("sent", "accepted", "rejected", "failed", "errors")
    assert [first[name] for name in counted] == [again[name] for name in counted]
