"""Another algorithm, by a change of the configuration and a release: each artifact meets its own container."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from data_prep.upload import upload_code
from lambda_src.shared.algorithms import IMAGE_CLASSIFICATION, SCIKIT_LEARN, Container, container_of
from local import deployment
from local.cloud import LocalCloud
from local.demonstration import Environment, labelled_images
from local.retraining import DataSet, Retraining, Traffic
from stacks.config import parse_environment
from tests.conftest import synthesize
from tests.local.retraining.conftest import environments

pytestmark = pytest.mark.slow

SETTING = {"algorithm": "scikit-learn"}


@pytest.fixture
def switched(cloud: LocalCloud, assembly: Path, tmp_path: Path) -> Iterator[Path]:
    """The same environment, but trained by scikit-learn; the tests after this one have the first again."""
    synthesize(tmp_path / "assembly", environments(training=SETTING))
    yield tmp_path / "assembly"
    deployment.deploy(cloud, assembly, "dev/*")


def serving(environment: Environment) -> tuple[str, Container]:
    """Artifact and container behind the endpoint, whose variables must be those of the container."""
    sagemaker = boto3.client("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName=environment.config.endpoint_name)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    found: Any = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])["PrimaryContainer"]
    container = container_of(found["Image"])
    assert found.get("Environment", {}) == container.serving_environment
    return found["ModelDataUrl"], container


def test_a_switch_a_rollback_across_it_and_every_deployment_between_serve_each_artifact_with_its_own_container(
    cloud: LocalCloud, environment: Environment, retraining: Retraining, data: DataSet, dataset: Path, switched: Path
) -> None:
    bodies = [
        (dataset / image.key).read_bytes() for image in labelled_images(dataset, environment.config.classes, at_most=10)
    ]
    first, container = serving(environment)
    assert container == IMAGE_CLASSIFICATION
    with Traffic(environment.config.endpoint_name, bodies) as traffic:
        deployment.deploy(cloud, switched, "dev/*")
        assert serving(environment) == (first, IMAGE_CLASSIFICATION), "the setting alone changes nothing that is served"

        upload_code(parse_environment("dev", {"training": SETTING}), environment.bucket)
        run = retraining.run(force=True)
        assert run.outcome == "Released", (run.states, run.cause, run.output.get("evaluation"))
        second, container = serving(environment)
        assert second != first
        assert container == SCIKIT_LEARN
        deployment.deploy(cloud, switched, "dev/*")
        assert serving(environment) == (second, SCIKIT_LEARN)

        run = retraining.run(rollback=True)
        assert run.outcome == "Released", (run.states, run.cause)
        assert serving(environment) == (first, IMAGE_CLASSIFICATION)
        deployment.deploy(cloud, switched, "dev/*")
        assert serving(environment) == (first, IMAGE_CLASSIFICATION), "whatever is configured"
    assert traffic.sent > 0
    assert not traffic.failures
