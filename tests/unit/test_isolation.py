"""A shell's settings for AWS reach no test."""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import threadpoolctl

from local.cloud import LocalCloud, Process
from stacks.config import PROJECT_ROOT


def test_a_shell_with_the_local_clouds_variables_can_run_the_tests() -> None:
    cloud = LocalCloud(Process("local.emulator", 1, 4566), Process("local.sagemaker", 2, 4567), Path("build/local"))
    program = """import tests.conftest, boto3; print(boto3.client("sts", region_name="us-east-1").meta.endpoint_url)"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_ROOT,
        env={**os.environ, **cloud.environment, "AWS_PROFILE": "no-such-profile"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (run.stdout, run.returncode) == ("https://sts.us-east-1.amazonaws.com\n", 0), run.stderr


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
    assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}, "and scikit-learn, if it is"
