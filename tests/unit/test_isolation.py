"""A shell's settings for AWS reach no test."""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import threadpoolctl

from local.cloud import LocalCloud, Process
from stacks.config import PROJECT_ROOT

USES_AN_ACCOUNT = (
    "tests/unit/data_prep/test_target.py::test_the_account_is_the_credentials_and_the_endpoint_the_regions"
)


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


def test_processes_of_tests_can_be_interrupted_from_a_shell_in_the_background() -> None:
    """It ignores SIGINT, as the processes do that it starts."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import tests.conftest; "
        "raise SystemExit(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, check=False, timeout=120).returncode == 0


def test_numpy_has_one_thread() -> None:
    """Several wait for one another, and burn a processor that other tests need."""
    assert numpy.__version__, "is loaded"
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    assert {pool["num_threads"] for pool in pools} == {1}
