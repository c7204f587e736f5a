"""A local cloud of its own: retraining changes what the endpoint serves, which other tests count on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.cloud import LocalCloud
from local.demonstration import Environment, Inbox
from local.retraining import DataSet, Retraining, calm_down
from stacks.config import PROJECT_ROOT, load_environment
from stacks.shared.deployment_config import deployment_config
from tests.conftest import made_once, synthesize
from tests.local.conftest import deployed


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "retraining-assembly", lambda path: synthesize(path, environments()))


def environments(**settings: Any) -> dict[str, Any]:
    """The dev environment with a wider gate: of 40 validation images each is worth more than the usual margin.

    And with a shorter wait for alarms, where a test has none to wait for.
    """
    dev = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]["environments"]["dev"]
    bounds = {"minimum_accuracy": 0.7, "margin": 0.25, "max_calibration_error": 0.4}
    return {"dev": {**dev, "retraining": bounds, "endpoint": {"bake_minutes": 1}, **settings}}


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
def long_bake(_local_aws: None) -> Iterator[None]:
    """A release waits for alarms as long as in dev, so that one can go off."""
    client: Any = boto3.client("lambda")
    pages = client.get_paginator("list_functions").paginate()
    (release,) = [f for page in pages for f in page["Functions"] if "-ReleaseModel" in f["FunctionName"]]
    variables = release["Environment"]["Variables"]
    longer = {**variables, "DEPLOYMENT_CONFIG": json.dumps(deployment_config(load_environment("dev")))}
    client.update_function_configuration(FunctionName=release["FunctionName"], Environment={"Variables": longer})
    yield
    client.update_function_configuration(FunctionName=release["FunctionName"], Environment={"Variables": variables})


@pytest.fixture
def inbox(environment: Environment) -> Inbox:
    return Inbox(environment.alert_topic_arn)


@pytest.fixture(autouse=True)
def _calm(environment: Environment, cloud: LocalCloud) -> None:
    """An alarm of an earlier test must not end this one's release."""
    calm_down(environment, cloud)
