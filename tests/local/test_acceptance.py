"""The whole life of prod, with its settings, in a local cloud of its own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cloud import LocalCloud
from ops.acceptance import PHASES
from stacks.config import PROJECT_ROOT
from tests.listener import Listener
from tests.local.conftest import started
from tests.local.test_deploy import ops, stack_names, succeeded


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Iterator[LocalCloud]:
    """With IAM enforced, and nothing in it."""
    with started(tmp_path_factory, "acceptance") as cloud:
        cloud.enforce_iam()
        yield cloud


def test_prod_lives_its_whole_life_twice_with_iam_enforced(
    cloud: LocalCloud, listener: Listener, assembly: Path, archive: Path
) -> None:
    """With its key, two instances, a canary and a manual approval.

    The training jobs of the first deployment still have their names in the second, but their artifacts went with the
    bucket.
    """
    arguments = ("--env", "prod", "--archive", str(archive), "--yes", f"--app={assembly}")
    said = succeeded(ops(cloud, "acceptance", *arguments))
    report = (PROJECT_ROOT / "build" / "acceptance-prod.md").read_text()
    phases = re.findall(r"^\| ([a-z ]+) \| (passed|FAILED) \| \d+ \| (.*) \|$", report, flags=re.MULTILINE)
    assert [name for name, *_ in phases] == [phase.name for phase in PHASES], said[-3000:]
    assert {verdict for _, verdict, _ in phases} == {"passed"}
    attempts = [re.findall(r"models/(\S+)-(\d+)/output", seen) for _, _, seen in phases]
    first, retrained, restored, second = [found[0] for found in attempts if found]
    assert first == restored == (first[0], "1")
    assert retrained[0] != first[0]
    assert second == (first[0], "2")
    assert not [name for name in stack_names() if name.startswith("scones-prod-")]
    assert not listener.connections, "nothing leaves this machine"
