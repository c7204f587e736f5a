"""The cdk commands that the local cloud runs, each of which takes seconds."""

from pathlib import Path
from typing import Any

import pytest

from local import deployment
from local.cloud import LocalCloud, Process


@pytest.fixture
def cloud(tmp_path: Path) -> LocalCloud:
    (tmp_path / "tmp").mkdir()
    return LocalCloud(Process("local.emulator", 1, 4566), Process("local.sagemaker", 2, 4567), tmp_path)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Path]]:
    """Those that were run, and in which folder."""
    ran: list[tuple[list[str], Path]] = []

    def run(_: LocalCloud, command: list[str], *, directory: Path, **__: Any) -> int:
        ran.append((command[1:], directory))
        return 0

    monkeypatch.setattr(LocalCloud, "run", run)
    return ran


def test_one_environment_is_synthesized(cloud: LocalCloud, commands: list[tuple[list[str], Path]]) -> None:
    assembly = deployment.synthesize(cloud, "dev")
    deployment.deploy(cloud, assembly, "dev/*")
    (synth, _), (deploy, _) = commands
    assert synth[synth.index("--context") + 1] == "only=dev"
    assert deploy[deploy.index("--app") + 1] == str(assembly)  # a folder is deployed as it is


def test_a_cloud_is_bootstrapped_once_and_without_an_app_to_synthesize(
    cloud: LocalCloud, commands: list[tuple[list[str], Path]]
) -> None:
    deployment.bootstrap(cloud)
    deployment.bootstrap(cloud)
    ((command, directory),) = commands
    assert command[0] == "bootstrap"
    assert not (directory / "cdk.json").exists()
