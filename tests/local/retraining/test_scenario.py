"""`python -m local retrain`, as the command reports it."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from local.cloud import LocalCloud
from local.demonstration import Environment, labelled_images
from local.drift import check_for_drift
from local.retraining import DataSet, Retraining, run_scenario
from stacks.config import PROJECT_ROOT
from stacks.shared import prefixes


@pytest.mark.usefixtures("long_bake")
def test_drift_leads_to_a_release_and_no_request_fails(
    cloud: LocalCloud, environment: Environment, data: DataSet, dataset: Path
) -> None:
    """The scenario itself raises when a step goes wrong; here is what it reports."""
    module(cloud, "data_prep", "baseline")
    reported: list[str] = []
    shown: set[str] = set()
    run_scenario(environment, cloud, dataset, reported.append, shown.add)
    text = "\n".join(reported)
    assert "drift, alarm ALARM" in text
    assert "'AlarmIgnored': 3" in text
    for outcome in ("NotifyRejected > Rejected", "NotifyRolledBack > RolledBack", "NotifyReleased > Released"):
        assert text.count(outcome) == 1
    assert reported[-1].endswith("requests to the endpoint in all, 0 failed")
    assert {"The run is in TrainCandidate", "The run is in ReleaseModel"} <= shown


def test_a_released_model_can_be_traced_evaluated_and_monitored(
    cloud: LocalCloud,
    environment: Environment,
    retraining: Retraining,
    data: DataSet,
    dataset: Path,
    tmp_path: Path,
) -> None:
    """As the model that data_prep trained can be."""
    first = retraining.served_artifact()
    data.keep(0.9)
    assert retraining.run(force=True).outcome == "Released"
    served = retraining.served_artifact()
    assert served != first

    # New images: of one that has a prediction already, that stays
    images = labelled_images(dataset, environment.config.classes, at_most=10)
    for image in images:
        body = (dataset / image.key).read_bytes()
        boto3.client("s3").put_object(Bucket=environment.bucket, Key=f"{prefixes.SCHEDULED}{image.key}", Body=body)
    execution = environment.classify([f"{prefixes.SCHEDULED}{image.key}" for image in images])
    key = next(o["prediction_key"] for o in execution.manifest["outcomes"] if o["outcome"] == "ACCEPTED")
    (model,) = json.loads(module(cloud, "ops", "lineage", key, "--json"))["models"]
    assert model["artifact_uri"] == served
    assert model["calibration_error"] is not None

    judged = json.loads(module(cloud, "ops", "threshold", "--json"))
    assert judged["predictions"] == len(labelled_images(dataset, environment.config.classes, at_most=1000))
    assert judged["points"][0]["coverage"] == 1
    assert judged["points"][0]["accuracy"] == pytest.approx(model["accuracy"])

    now = datetime.now(UTC)
    report = check_for_drift(environment, start=now - timedelta(hours=1), end=now)
    assert report["baseline"]["artifact_uri"] == served

    page = tmp_path / "report.html"
    module(cloud, "ops", "captures", "--html", str(page))
    assert f"baseline ({judged['predictions']})" in page.read_text(encoding="utf-8")
    assert "computed before" in module(cloud, "data_prep", "baseline")


def module(cloud: LocalCloud, name: str, *arguments: str) -> str:
    """What a command of dev prints."""
    return subprocess.run(
        [sys.executable, "-m", name, *arguments, "--env", "dev"],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        check=True,
        timeout=300,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
