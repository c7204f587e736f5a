"""`make ... LOCAL=1` with credentials of an account in the shell: no request may reach that account."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.config import PROJECT_ROOT
from tests.listener import Listener, listening


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as server:
        yield server


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project, in which no local cloud runs and none can be started."""
    copy = tmp_path / "checkout"
    for name in ("data_prep", "lambda_src", "local", "ops", "stacks"):
        shutil.copytree(PROJECT_ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "app.py", "cdk.json", "package.json", "requirements.txt"):
        shutil.copy(PROJECT_ROOT / name, copy)
    for name in (".venv", "node_modules"):
        (copy / name).symlink_to(PROJECT_ROOT / name)
    (copy / "build").write_text("a file where the local cloud would keep its state")
    return copy


def make(checkout: Path, listener: Listener, *arguments: str) -> "subprocess.CompletedProcess[str]":
    account = {
        "AWS_ACCESS_KEY_ID": "of-an-account",
        "AWS_SECRET_ACCESS_KEY": "of-an-account",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": listener.url,
        "AWS_MAX_ATTEMPTS": "1",
        **listener.as_proxy,
    }
    return subprocess.run(
        ["make", "--old-file=setup", *arguments],  # the tools are installed, and installing them needs the network
        cwd=checkout,
        env={**os.environ, **account},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("command", ["deploy", "diff", "destroy"])
def test_without_a_local_cloud_nothing_runs_and_nothing_is_sent(
    checkout: Path, listener: Listener, command: str
) -> None:
    run = make(checkout, listener, command, "ENV=dev", "LOCAL=1", "YES=1")
    assert run.returncode != 0
    assert not listener.connections
    assert "Error: " in run.stderr


def test_the_listener_would_see_a_request_to_the_account(checkout: Path, listener: Listener) -> None:
    assert make(checkout, listener, "destroy", "ENV=dev", "YES=1").returncode != 0
    assert listener.connections
