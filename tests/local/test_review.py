"""`python -m local review`, from a new local cloud to fewer rejections; docs/local.md."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.browser import PACKAGED, installed
from local.cloud import LocalCloud
from tests.local.conftest import copied_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    copy = copied_project(tmp_path)
    yield copy
    LocalCloud.stop_running(copy / "build" / "local")


@pytest.fixture(autouse=True)
def _local_aws() -> None:
    """Takes the place of conftest's, whose cloud is not needed here."""


@pytest.mark.slow  # some minutes: a local cloud, a person's labels, a training, a release
@pytest.mark.skipif(not (installed() or PACKAGED.exists()), reason="no browser is installed: run `make browser`")
def test_reviewed_pictures_make_a_better_model_that_rejects_fewer(project: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(
        [sys.executable, "-m", "local", "review", "--no-keep"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    sys.stdout.write(run.stdout)  # with -s, for docs/console.md
    before, after = (int(share) for share in re.findall(r"pictures at night: (\d+)% rejected", run.stdout))
    assert after < before
    (old, new) = re.findall(r"on the reviewed validation images: ([\d.]+) before, ([\d.]+) now", run.stdout)[0]
    assert float(new) > float(old)
    assert "RecordRelease > NotifyReleased > Released" in run.stdout
    assert re.search(r"[1-9]\d* requests to the endpoint meanwhile, 0 failed", run.stdout)
