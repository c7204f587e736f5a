"""The command `train`: creates the local cloud's data set and model with the commands of data_prep."""

import sys
from pathlib import Path

from data_prep.dataset import default_folder
from data_prep.options import EnvironmentName
from local.cloud import DIRECTORY, LocalCloud, LocalCloudError, running_cloud
from local.demonstration import Environment
from local.options import Archive
from local.terminal import say, stage
from stacks.config import EnvironmentConfig

DATASET = DIRECTORY / "dataset"


def train(env: EnvironmentName = "dev", archive: Archive = None) -> None:
    """Build the data set, upload it, train the stand-in model, and store the artifact's URI in SSM."""
    cloud, config = running_cloud(env)
    remember(archive)
    build_dataset(cloud, config, is_new=archive is not None)
    upload_and_train(cloud, config, is_new=archive is not None)


def remember(archive: Path | None) -> None:
    if archive:
        LocalCloud.remember_archive(archive)


def build_dataset(cloud: LocalCloud, config: EnvironmentConfig, *, is_new: bool) -> None:
    remembered = LocalCloud.remembered_archive()
    if remembered and not is_new:
        say(f"Data of {remembered}, which was given before; --archive (make: ARCHIVE) names another")
    with stage("data_prep build", is_silent=False):
        _data_prep(cloud, "build", "--env", config.name, "--output", str(DATASET))


def upload_and_train(cloud: LocalCloud, config: EnvironmentConfig, *, is_new: bool = False) -> None:
    replace = ["--delete-extra"] if is_new else []  # a requested data set replaces any other
    for command, options in (("upload", replace), ("train", [])):
        with stage(f"data_prep {command}", is_silent=False):
            _data_prep(cloud, command, "--env", config.name, "--dataset", str(DATASET), *options)
    with stage("data_prep baseline", is_silent=False):
        _data_prep(cloud, "baseline", "--env", config.name)


def _data_prep(cloud: LocalCloud, *arguments: str) -> None:
    """One of the commands that users run against AWS, pointed at the local cloud."""
    status = cloud.run([sys.executable, "-m", "data_prep", *arguments], program="data_prep")
    if status:
        raise LocalCloudError(f"`python -m data_prep {arguments[0]}` ended with status {status}")


def data_set_of(environment: Environment) -> Path:
    """The data set folder of the model in service: that of `train` or of `make deploy LOCAL=1`."""
    return environment.data_set([DATASET, default_folder(environment.config.name)])
