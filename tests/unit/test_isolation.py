"""What a shell has set for AWS reaches no test."""

import os
import subprocess
import sys
from pathlib import Path

from local.cloud import LocalCloud, Process
from stacks.config import PROJECT_ROOT

USES_AN_ACCOUNT = "tests/unit/ops/test_doctor.py::test_no_artifact_yet_is_a_warning_with_the_command"


def test_a_shell_with_the_local_clouds_variables_can_run_the_tests() -> None:
    cloud = LocalCloud(Process("local.emulator", 1, 4566), Process("local.sagemaker", 2, 4567), Path("build/local"))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", USES_AN_ACCOUNT],
        cwd=PROJECT_ROOT,
        env={**os.environ, **cloud.environment, "AWS_PROFILE": "no-such-profile"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout
