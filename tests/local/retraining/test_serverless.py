"""An endpoint on instances becomes a serverless one in a pause, is released to, and becomes one on instances again."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from local import deployment
from local.cloud import LocalCloud, LocalCloudError
from local.demonstration import Environment, wait_for
from local.retraining import DataSet, Retraining
from tests.conftest import synthesize
from tests.local.retraining.conftest import environments
from tests.local.test_pause import endpoint_status, outcomes, predicted, run, upload

pytestmark = pytest.mark.slow


@pytest.fixture
def serverless(cloud: LocalCloud, assembly: Path, tmp_path: Path) -> Iterator[Path]:
    """The same environment with a serverless endpoint; the tests after this one have instances again."""
    settings = {"kind": "serverless", "serverless_memory_mb": 3072}
    synthesize(tmp_path / "assembly", environments(endpoint=settings))
    yield tmp_path / "assembly"
    deployment.deploy(cloud, assembly, "dev/*")


def memory(environment: Environment) -> int | None:
    """Of the containers that serve, in MB; None on instances."""
    described = boto3.client("sagemaker").describe_endpoint(EndpointName=environment.config.endpoint_name)
    found = described["ProductionVariants"][0].get("CurrentServerlessConfig")
    return found["MemorySizeInMB"] if found else None


def test_a_change_of_kind_in_a_pause_loses_no_upload_and_releases_reach_the_serverless_endpoint(
    cloud: LocalCloud,
    environment: Environment,
    retraining: Retraining,
    data: DataSet,
    confident_images: list[str],
    assembly: Path,
    serverless: Path,
) -> None:
    first = retraining.served_artifact()
    assert memory(environment) is None
    with pytest.raises(LocalCloudError, match="ended with status"):  # what doctor saves people from
        deployment.deploy(cloud, serverless, "dev/Model")

    assert run(environment, "pause")["status"] == "SUCCEEDED"
    waiting = upload(environment, confident_images[0], 3)
    wait_for(lambda: outcomes(environment, waiting)["WAITING"] == 3 or None, "3 uploads that wait")
    refused = retraining.run(force=True)
    assert refused.outcome == "NotStarted"
    assert "the endpoint is paused since" in refused.output["refusal"]
    deployment.deploy(cloud, serverless, "dev/*")
    assert endpoint_status(environment) == "None"

    assert run(environment, "resume")["status"] == "SUCCEEDED"
    assert memory(environment) == 3072
    assert retraining.served_artifact() == first
    wait_for(lambda: predicted(environment, waiting) == 3 or None, "predictions of what has waited")

    data.keep(0.75)  # never served, so that what was served before it is the first
    released = retraining.run(force=True)
    assert released.outcome == "Released", (released.states, released.cause, released.output.get("evaluation"))
    second = retraining.served_artifact()
    assert second != first
    assert memory(environment) == 3072
    keys = upload(environment, confident_images[0], 3)
    wait_for(lambda: outcomes(environment, keys).total() == 3 or None, "the outcomes by the released model")
    assert set(outcomes(environment, keys)) <= {"ACCEPTED", "REJECTED"}
    deployment.deploy(cloud, serverless, "dev/*")
    assert (retraining.served_artifact(), memory(environment)) == (second, 3072)

    rolled_back = retraining.run(rollback=True)
    assert rolled_back.outcome == "Released", (rolled_back.states, rolled_back.cause)
    assert (retraining.served_artifact(), memory(environment)) == (first, 3072)
    deployment.deploy(cloud, assembly, "dev/*")
    assert (retraining.served_artifact(), memory(environment)) == (first, None)
