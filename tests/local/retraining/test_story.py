"""`python -m local retrain`, as the command tells it."""

import subprocess
import sys
from pathlib import Path

from local.cloud import LocalCloud
from local.demonstration import Environment
from local.retraining import DataSet, tell_story
from stacks.config import PROJECT_ROOT


def test_drift_leads_to_a_release_and_no_request_fails(
    cloud: LocalCloud, environment: Environment, data: DataSet, dataset: Path
) -> None:
    """The story itself raises when something is not as it should be; here is what a reader is told."""
    subprocess.run(
        [sys.executable, "-m", "data_prep", "baseline", "--env", "dev"],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        check=True,
        timeout=300,
    )
    told: list[str] = []
    tell_story(environment, cloud, dataset, told.append)
    text = "\n".join(told)
    assert "drift, alarm ALARM" in text
    assert "'AlarmIgnored': 3" in text
    for ending in ("NotifyRejected > Rejected", "NotifyRolledBack > RolledBack", "NotifyReleased > Released"):
        assert text.count(ending) == 1
    assert told[-1].endswith("requests to the endpoint in all, 0 failed")
