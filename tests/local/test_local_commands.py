"""The commands of docs/local.md, in the order of the page, in their own local cloud.

Its project has five classes instead of two, the algorithm that needs no GPU and a serverless endpoint, by configuration
alone: data set, training, endpoint, workflow and monitoring follow.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cloud import LocalCloud
from stacks.config import PROJECT_ROOT
from tests.local.conftest import copied_project

# They have tests of their own: docs/local.md names them as what else there is
ELSEWHERE = (
    "make ",
    "python -m local dev",
    "python -m local drift",
    "python -m local retrain",
    "python -m local review",
)
CLASSES = ["bicycle", "motorcycle", "bus", "streetcar", "pickup_truck"]
SETTINGS = {"classes": CLASSES, "training": {"algorithm": "scikit-learn"}, "endpoint": {"kind": "serverless"}}
NEEDED = [] if shutil.which("aws") else ["aws"]


def blocks() -> Iterator[list[str]]:
    """The commands of each block of the page."""
    page = (PROJECT_ROOT / "docs" / "local.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```bash\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        commands = [line.partition("  #")[0].strip() for line in block.splitlines()]
        yield [c for c in commands if not c.startswith(ELSEWHERE) and not set(NEEDED) & set(c.split())]


@pytest.fixture(autouse=True)
def _local_aws() -> None:
    """Takes the place of conftest's, whose cloud is not needed here."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project in another place, with a local cloud of its own."""
    copy = copied_project(tmp_path_factory.mktemp("page"))
    settings = json.loads((copy / "cdk.json").read_text())
    settings["context"]["environments"]["dev"] |= SETTINGS
    (copy / "cdk.json").write_text(json.dumps(settings))
    yield copy
    LocalCloud.stop_running(copy / "build" / "local")


@pytest.fixture(scope="module")
def said(project: Path) -> str:
    """What the commands print; each of them succeeds."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    archive = project.parent / "sample.tar.gz"
    sample = f"python -m data_prep sample {archive} --train 40 --test 20 --quiet"
    said = ""
    for commands in ([sample], *blocks()):
        script = "\n".join(["set -euo pipefail", *commands]).replace("--archive PATH", f"--archive {archive}")
        run = subprocess.run(
            ["bash", "-c", script],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert run.returncode == 0, script + run.stdout[-3000:] + run.stderr[-3000:]
        said += run.stdout
    return said


def test_the_page_about_the_local_cloud_works_from_its_first_command_to_its_last(said: str) -> None:
    for line in (
        "Stopped the SageMaker stand-in and the AWS emulator",
        "No model is trained yet",
        '✓ cdk deploy "dev/*"',
        "Accepted, confidence at least 0.9",
        "BucketName",
    ):
        assert line in said


def test_five_classes_and_another_algorithm_need_no_other_code(said: str) -> None:
    """`python -m local run` has checked every outcome."""
    rows = re.findall(r"^\S+\.png +(\w+) +(\w+) +[01]\.\d+ ", said, flags=re.MULTILINE)
    assert len(rows) == 61
    true, predicted = zip(*rows, strict=True)
    assert set(true) == set(predicted) == set(CLASSES)
    correct = sum(label == true_class for true_class, label in rows)
    assert correct >= 0.7 * len(rows)


def test_the_workflow_records_the_predictions_that_a_serverless_endpoint_does_not_capture(said: str) -> None:
    """`python -m local run` has found the prediction of every image, and written the report from them."""
    assert "✓ Record of every prediction" in said
    assert "Report: " in said
