"""One local cloud for the tests of this folder: the dev environment as `cdk deploy` makes it, with IAM enforced.

The data set is drawn, so that no test needs the real images.
"""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import boto3
import pytest

from data_prep import aws
from data_prep.target import current_target
from data_prep.train import train
from data_prep.upload import upload
from local import deployment, expressions
from local.cloud import LocalCloud
from local.demonstration import Environment, Inbox, labelled_images
from stacks.config import PROJECT_ROOT, load_environment
from tests.conftest import made_once
from tests.listener import Listener, listening

EXPRESSIONS = "expressions.jsonl"  # within the cloud's directory


# What runs after the others of its cloud, in this order: a review starts a retraining run, beside which and shortly
# after which no alarm starts another; faults set off alarms and leave captures that cannot be parsed; for minutes
# after a pause a missing endpoint is no fault; and what all of them have recorded is read at the end
LAST = ("test_review.py", "test_faults.py", "test_pause.py", "test_recorded_expressions.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LAST.index(item.path.name) if item.path.name in LAST else -1)


def _data_prep(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "data_prep", *arguments, "--quiet"], cwd=PROJECT_ROOT, check=True, timeout=120
    )


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive in CIFAR-100's format, drawn."""
    return made_once(
        tmp_path_factory, "sample.tar.gz", lambda path: _data_prep("sample", str(path), "--train", "60", "--test", "20")
    )


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Path:
    """The data set of that archive; nobody changes it."""
    build = ("build", "--env", "dev", "--archive", str(archive), "--output")
    return made_once(tmp_path_factory, "dataset", lambda folder: _data_prep(*build, str(folder)))


def copied_project(folder: Path) -> Path:
    """The project in another place, so that its build/ and data/ are not those of whoever runs the tests."""
    copy, made = folder / "project", {"node_modules", "build", "cdk.out", "data"}

    def left_out(inside: str, names: list[str]) -> set[str]:
        return {name for name in names if name.startswith(".") or (inside == str(PROJECT_ROOT) and name in made)}

    shutil.copytree(PROJECT_ROOT, copy, ignore=left_out)
    (copy / "node_modules").symlink_to(PROJECT_ROOT / "node_modules")
    (copy / ".venv").symlink_to(sys.prefix)  # cdk.json runs the app with it
    return copy


@contextlib.contextmanager
def started(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[LocalCloud]:
    """A bootstrapped local cloud, which has its trained models from the other clouds and they from it."""
    directory = tmp_path_factory.mktemp(name)
    models = made_once(tmp_path_factory, "models", Path.mkdir)
    (directory / "models").symlink_to(models)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv(expressions.VARIABLE, str(directory / EXPRESSIONS))
        cloud = LocalCloud.start(directory)
    try:
        deployment.bootstrap(cloud)
        yield cloud
    finally:
        LocalCloud.stop_running(directory)


@contextlib.contextmanager
def deployed(
    tmp_path_factory: pytest.TempPathFactory, name: str, assembly: Path, dataset: Path
) -> Iterator[LocalCloud]:
    """A local cloud with all stacks of the dev environment, its data set uploaded and its model trained."""
    with started(tmp_path_factory, name) as cloud:
        deployment.deploy(cloud, assembly, "dev/Data")
        with pytest.MonkeyPatch.context() as monkeypatch:
            use(cloud, monkeypatch)
            upload(dataset=dataset, quiet=True)
            train(dataset=dataset, quiet=True)
        deployment.deploy(cloud, assembly, "dev/*")
        cloud.enforce_iam()
        yield cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, assembly: Path, dataset: Path) -> Iterator[LocalCloud]:
    with deployed(tmp_path_factory, "cloud", assembly, dataset) as cloud:
        yield cloud


@cache
def _session(cloud: LocalCloud) -> boto3.Session:
    """A session that creates each client once: one takes 5 ms, and the tests of a cloud ask for thousands."""
    session = boto3.Session(cloud.environment["AWS_ACCESS_KEY_ID"], cloud.environment["AWS_SECRET_ACCESS_KEY"])
    session.client = cache(session.client)  # type: ignore[method-assign]
    return session


def use(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the AWS SDK of this process at the local cloud."""
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", _session(cloud))


@pytest.fixture(autouse=True)
def _forget_clients() -> Iterator[None]:
    """A cached client keeps the address, the credentials and the mocks that it was made with."""
    yield
    for client in vars(aws).values():
        if hasattr(client, "cache_clear"):
            client.cache_clear()
    current_target.cache_clear()


@pytest.fixture(autouse=True)
def _local_aws(monkeypatch: pytest.MonkeyPatch, cloud: LocalCloud) -> None:
    use(cloud, monkeypatch)


@pytest.fixture
def environment(_local_aws: None) -> Environment:
    return Environment.deployed(load_environment("dev"))


@pytest.fixture(scope="session")
def confident_images(cloud: LocalCloud, dataset: Path) -> list[str]:
    """Keys of test images that the trained model is sure of."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(cloud, monkeypatch)
        environment = Environment.deployed(load_environment("dev"))
        keys = [image.key for image in labelled_images(dataset, environment.config.classes, at_most=40)]
        outcomes = environment.classify(keys).manifest["outcomes"]
    confident = [outcome["s3_key"] for outcome in outcomes if outcome["outcome"] == "ACCEPTED"]
    assert len(confident) >= 10, "the model must be sure of some images for the tests to mean anything"
    return confident


@pytest.fixture
def inbox(environment: Environment, confident_images: list[str]) -> Inbox:
    """Opened after the images were looked for, which the topic is told of too."""
    return Inbox(environment.alert_topic_arn)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    """In the place of the machine's proxy, for all that a module does."""
    with listening() as server, pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in server.as_proxy.items():
            monkeypatch.setenv(name, value)
        yield server
