"""Fixtures for all tests, and restrictions on them."""

import fcntl
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import botocore.session
import hypothesis
import pytest
from botocore.loaders import create_loader
from xdist.scheduler import LoadScopeScheduling

from local import strict
from stacks.config import PROJECT_ROOT
from tests import container_tree

# Imports and collected tests stay alive, and each garbage collection would traverse them for half a second
gc.disable()

# Requests that AWS would refuse fail in every client: stubbed, moto's or the local cloud's
strict.install()

# Nearly every test creates a boto3 session, but none changes botocore's models, so these are loaded once
botocore.session.create_loader = cache(create_loader)

# The duration of a test, or of hypothesis's generation of examples, depends on the machine
hypothesis.settings.register_profile("no clock", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("no clock")

# The interpreter's folder has Node and the linters, even if the virtual environment is not activated
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

# Ignore the shell's account or local cloud: a test without a target of its own fails
for name in [name for name in os.environ if name.startswith(("AWS_", "CIFAR_100_"))]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

# CDK's own validation takes as long as the synthesis; test_scanner_exceptions.py does it once
os.environ["CDK_VALIDATION"] = "false"

# With V8's usual four helper threads Node takes a tenth more CPU time, and the processes of a test run share all cores
os.environ["NODE_OPTIONS"] = "--v8-pool-size=1"

# A shell's background processes ignore SIGINT, and so would every command that a test interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests that share a local cloud, by folder or file. The longest come first, so that all processes end at about the same
# time
CLOUDS = (
    "tests/local/test_deploy.py",
    "tests/local",
    "tests/local/classification",
    "tests/local/retraining",
    "tests/local/retraining/test_mutation.py",
    "tests/local/test_review.py",
    "tests/local/test_killed_runs.py",
    "tests/local/test_local_commands.py",
)

# After them one that makes the templates, which the rest would wait for; beside it, the longest that needs none
FIRST = (
    *CLOUDS,
    "tests/infrastructure/test_scanner_exceptions.py",
    "tests/unit/ops/review/test_publication.py",
)

LONGEST_NAME = "an-environment-named"  # 20 characters


def group(nodeid: str) -> str:
    """The group of a test. The tests of a group run in order in one process: those of a local cloud, or of a file."""
    return group_of_file(nodeid.partition("::")[0])


@cache
def group_of_file(file: str) -> str:
    places = (file, *map(str, PurePosixPath(file).parents))
    return next((place for place in places if place in CLOUDS), file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: index for index, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(group(item.nodeid), len(FIRST)))


def pytest_collection_finish() -> None:
    gc.set_threshold(10_000)  # with Python's own 700, what tests load later would be traversed thirty times a process
    gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = group
    return scheduling


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A directory or file that the first process of pytest-xdist creates, while the others wait."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    path, made = shared / name, shared / f"{name}.made"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make(path)
            made.touch()
    return path


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cloud assembly of cdk.json's environments, synthesized without credentials, account or network."""
    environments = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]["environments"]
    return made_once(tmp_path_factory, "assembly", lambda output: synthesize(output, environments))


def context_with(environments: Any) -> dict[str, Any]:
    """The context of cdk.json with these environments, as the command line of CDK hands it to the application."""
    context: dict[str, Any] = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]
    return {**context, "environments": environments, "aws:cdk:enable-path-metadata": True}


def synthesize(output: Path, environments: Any) -> None:
    """Write the cloud assembly of these environments in place of cdk.json's, as the command line of CDK does."""
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "CDK_OUTDIR": str(output), "CDK_CONTEXT_JSON": json.dumps(context_with(environments))},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file tree of a finished training job; tests must not change it."""
    return made_once(tmp_path_factory, "trained", container_tree.train)
