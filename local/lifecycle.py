"""Start the local cloud, deploy an environment into it, and stop it: the commands `up`, `down` and `all`."""

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from data_prep.options import EnvironmentName
from data_prep.terminal import print_whole
from local import deployment
from local.classification import classify
from local.cloud import CONSOLE, DIRECTORY, LocalCloud, LocalCloudError, running_cloud
from local.deployment import deploy_ready_stacks
from local.options import Archive, Keep
from local.prepare import build_dataset, remember, upload_and_train
from local.terminal import console, say, short, stage
from stacks.config import EnvironmentConfig, load_environment

_NAMES = {"local.emulator": "the AWS emulator", "local.sagemaker": "the SageMaker stand-in", CONSOLE: "the console"}


def up(
    archive: Archive = None,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="Run `cdk bootstrap`, too.")] = False,
) -> None:
    """Start the AWS emulator and the stand-in for SageMaker, unless they run, on free ports of 127.0.0.1."""
    remember(archive)
    cloud = LocalCloud.running() if LocalCloud.is_running() else _start()
    if bootstrap:
        with stage("cdk bootstrap"):
            deployment.bootstrap(cloud)
    say(f"AWS at {cloud.emulator.url}, SageMaker at {cloud.sagemaker.url}; logs in {short(cloud.directory)}")


def down() -> None:
    """Stop the local cloud; everything deployed in it is lost."""
    stopped = [_NAMES.get(process.program, "a command") for process in LocalCloud.stop_running()]
    if stopped:
        say(f"Stopped {' and '.join(stopped)}, with what was deployed; logs: {short(DIRECTORY)}")
    else:
        say("No local cloud was running")


def all_(env: EnvironmentName = "dev", archive: Archive = None, keep: Keep = True) -> None:
    """Do all of it in a new local cloud: start, build data, deploy, train, classify. It keeps running."""
    config = load_environment(env)
    started = time.monotonic()
    with kept_running(keep=keep):
        cloud = everything_deployed(config, archive)
        classify(cloud, config)
        say(f"\nAll checks passed in {time.monotonic() - started:.0f} s.")
        if keep:
            _show_what_next(config)
            say(f"\nThe environment in your browser: {cloud.open_console(config.name)}")


@contextlib.contextmanager
def deployed(config: EnvironmentConfig, archive: Path | None, *, keep: bool) -> Iterator[LocalCloud]:
    """The running local cloud, unchanged, or a new one with the environment deployed."""
    if LocalCloud.is_running():
        if archive:
            raise LocalCloudError(
                "--archive is for a new local cloud, and one is running: leave it out, or `python -m local down` first"
            )
        cloud, _ = running_cloud(config.name)
        yield cloud
    else:
        with kept_running(keep=keep):
            yield everything_deployed(config, archive)


@contextlib.contextmanager
def kept_running(*, keep: bool) -> Iterator[None]:
    """Stop the local cloud at the end, unless it is kept; an interruption stops it in any case."""
    try:
        yield
    except KeyboardInterrupt:
        keep = False
        raise
    finally:
        if not keep:
            LocalCloud.stop_running()
        elif LocalCloud.is_running():
            say("\nThe local cloud keeps running; `python -m local down` stops it.")


def _start() -> LocalCloud:
    if LocalCloud.stop_running():
        say("Stopped the local cloud that was running, with what was deployed in it")
    with stage("Emulator and SageMaker stand-in"):
        return LocalCloud.start()


def everything_deployed(config: EnvironmentConfig, archive: Path | None) -> LocalCloud:
    remember(archive)
    cloud = _start()
    cloud.use()
    with ThreadPoolExecutor() as pool:
        bootstrapped = pool.submit(deployment.bootstrap, cloud, config)
        synthesized = pool.submit(deployment.synthesize, cloud, config.name)
        build_dataset(cloud, config, is_new=archive is not None)
        with stage("cdk synth, cdk bootstrap"):
            bootstrapped.result()
            assembly = synthesized.result()
    with stage(f'cdk deploy "{config.name}/Data"'):
        deployment.deploy(cloud, assembly, f"{config.name}/Data")
    upload_and_train(cloud, config)
    deploy_ready_stacks(cloud, config, assembly)
    return cloud


def _show_what_next(config: EnvironmentConfig) -> None:
    activated = "" if "VIRTUAL_ENV" in os.environ else "; first `. .venv/bin/activate`"
    say(f"\nTry next, in this local cloud (docs/local.md{activated}):")
    in_environment = "" if config.name == "dev" else f" --env {config.name}"
    table = Table(show_header=False, box=None)
    for command, what in (
        (
            f"python -m local dev{in_environment}",
            "what you save runs there; a picture that you drop is classified",
        ),
        (f"python -m local drift{in_environment}", "the same pictures at night: drift, an alarm, a retraining run"),
        (f"python -m local review{in_environment}", "rejected pictures, labelled in a browser, make a better model"),
        ("make deploy LOCAL=1 ENV=prod", "a second environment beside it"),
        (f"make diff LOCAL=1 ENV={config.name}", "what an edit of stacks/ or lambda_src/ would change"),
        ("python -m local exec aws s3 ls", "any AWS tool"),
    ):
        table.add_row(command, f"[dim]{what}[/]")
    print_whole(console, table)
