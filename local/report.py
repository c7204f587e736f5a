"""Writes the report of the endpoint's captures, with the `ops` command that users run."""

import subprocess
import sys
from datetime import datetime

from local.cloud import LocalCloud, LocalCloudError
from local.terminal import say
from stacks.config import PROJECT_ROOT, EnvironmentConfig


def write_report(cloud: LocalCloud, config: EnvironmentConfig, name: str, *, since: datetime) -> None:
    target = PROJECT_ROOT / "build" / f"{name}.html"
    window = ["--since", since.isoformat()]
    status = subprocess.run(
        [sys.executable, "-m", "ops", "captures", "--env", config.name, *window, "--html", str(target)],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode
    if status:
        raise LocalCloudError(f"`python -m ops captures --html` ended with status {status}")
    say(f"\nReport:       {target}")
