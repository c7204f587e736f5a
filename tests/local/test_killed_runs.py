"""`make local`, killed at any stage, succeeds the next time."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.cloud import LocalCloud, Process
from tests.local.conftest import copied_project


@pytest.fixture(autouse=True)
def _local_aws() -> None:
    """Takes the place of conftest's: the runs have a cloud of their own."""


# The beginning of the line that says that a stage of `local all` is done; each run is killed soon after one of them
STAGES = [
    "Emulator and SageMaker stand-in",
    'cdk deploy "dev/Data"',
    "data_prep upload",
    "data_prep train",
    "data_prep baseline",
    'cdk deploy "dev/*"',
    "Workflow over a list of",
]
SECONDS_INTO_THE_NEXT = 1.5


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copied_project(tmp_path)


@pytest.mark.slow  # some minutes: seven runs that end early, one that does not
def test_a_local_run_that_was_killed_at_any_stage_is_done_again(project: Path, archive: Path) -> None:
    command = [sys.executable, "-m", "local", "all", "--no-keep", "--archive", str(archive)]
    recorded: list[Process] = []
    with (
        contextlib.ExitStack() as pipes
    ):  # open until the end: what outlives its run must not stumble over a closed one
        for stage in STAGES:
            run = pipes.enter_context(
                subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )
            assert run.stdout is not None
            lines = []
            for line in run.stdout:
                lines.append(line)
                if line.startswith(f"✓ {stage}"):
                    break
            else:
                pytest.fail(f"ended before {stage}:\n{''.join(lines)}")
            time.sleep(SECONDS_INTO_THE_NEXT)
            run.kill()  # only this one: its children go on, as after kill -9
            run.wait()
            cloud = LocalCloud.running(project / "build" / "local")
            recorded += [cloud.emulator, cloud.sagemaker]
        last = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=300)
    assert last.returncode == 0, last.stdout[-3000:] + last.stderr[-3000:]
    assert "All checks passed" in last.stdout
    assert not [process for process in recorded if process.is_ours()]
    assert not LocalCloud.is_running(project / "build" / "local")
