"""Shared by all tests: where the project is, and what no test may do."""

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

# What is imported and collected stays: each collection of garbage would look through all of it, for half a second
gc.disable()

# What AWS would refuse fails in every client, whether it is stubbed, moto's or of the local cloud
strict.install()

# Nearly every test has a boto3 session of its own, and none changes botocore's models: they are found and parsed once
botocore.session.create_loader = cache(create_loader)

# How long a test takes, or hypothesis to make up its examples, says nothing about the code
hypothesis.settings.register_profile("no clock", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("no clock")

# Node and the linters lie beside the interpreter, whether or not the environment was activated
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

# Whatever the shell points at, an account or the local cloud: a test that forgets to point somewhere fails
for name in [name for name in os.environ if name.startswith(("AWS_", "CIFAR_100_"))]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

# It takes CDK as long to apply its rules to the templates as to make them: test_scanner_exceptions.py does so once
os.environ["CDK_VALIDATION"] = "false"

# A shell ignores SIGINT in what it runs in the background, and so would every command that a test interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests that share a local cloud, by folder or file. The longest come first, so that all processes end at about one time
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

LONGEST_NAME = "an-environment-named"  # 20 characters


def group(nodeid: str) -> str:
    """Of the tests that run in one process, in their order: those that share a local cloud, or those of a file."""
    return group_of_file(nodeid.partition("::")[0])


@cache
def group_of_file(file: str) -> str:
    places = (file, *map(str, PurePosixPath(file).parents))
    return next((place for place in places if place in CLOUDS), file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: index for index, name in enumerate(CLOUDS)}
    items.sort(key=lambda item: place.get(group(item.nodeid), len(CLOUDS)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = group
    return scheduling


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The directory or file that the first process of pytest-xdist makes, and the others wait for."""
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
    """The cloud assembly of cdk.json's environments, made without credentials, account or network."""
    environments = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]["environments"]
    return made_once(tmp_path_factory, "assembly", lambda output: synthesize(output, environments))


def synthesize(output: Path, environments: Any) -> None:
    """Write the cloud assembly of these environments in place of cdk.json's, as the command line of CDK does."""
    context = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]
    context.update({"environments": environments, "aws:cdk:enable-path-metadata": True})
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "CDK_OUTDIR": str(output), "CDK_CONTEXT_JSON": json.dumps(context)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of a training job that has ended; nobody changes it."""
    return made_once(tmp_path_factory, "trained", container_tree.train)
