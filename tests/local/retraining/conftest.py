"""A local cloud of its own: retraining changes what the endpoint serves, which other tests count on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cloud import LocalCloud
from local.demonstration import Environment, Inbox
from local.retraining import DataSet, Retraining, calm_down
from stacks.config import PROJECT_ROOT, load_environment
from tests.local.conftest import deployed


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesized(tmp_path_factory.mktemp("retraining-assembly"))


def synthesized(output: Path, **settings: Any) -> Path:
    """The dev environment with a wider gate: of 40 validation images each is worth more than the usual margin."""
    context = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]
    bounds = {"minimum_accuracy": 0.7, "margin": 0.25, "max_calibration_error": 0.4}
    context["environments"] = {"dev": {**context["environments"]["dev"], "retraining": bounds, **settings}}
    subprocess.run(
        [sys.executable, "app.py"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "CDK_OUTDIR": str(output), "CDK_CONTEXT_JSON": json.dumps(context)},
        check=True,
        timeout=240,
    )
    return output


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, assembly: Path, dataset: Path) -> Iterator[LocalCloud]:
    with deployed(tmp_path_factory, "retraining-cloud", assembly, dataset) as cloud:
        yield cloud


@pytest.fixture
def retraining(environment: Environment) -> Retraining:
    return Retraining.deployed(environment)


@pytest.fixture
def data(environment: Environment, dataset: Path) -> DataSet:
    """The data set in the bucket, as it was built; tests change it."""
    data_set = DataSet(environment.bucket, dataset)
    data_set.restore()
    return data_set


@pytest.fixture
def inbox(environment: Environment) -> Inbox:
    return Inbox(environment.alert_topic_arn)


@pytest.fixture(autouse=True)
def _quiet_alarms(_local_aws: None) -> None:
    """An alarm of an earlier test must not end this one's release."""
    calm_down(Environment.deployed(load_environment("dev")))
