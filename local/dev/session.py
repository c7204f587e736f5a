"""`python -m local dev`: runs saved changes in the local cloud within seconds, and shows all activity in one stream.

The code of functions is updated directly, without a synth. Any other change is deployed: the emulator's CloudFormation
is fast, and then matches its resources. `cdk deploy --hotswap` would bypass CloudFormation, and would change
state machines through Cloud Control, which the emulator does not support for them.
"""

import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import boto3
import typer
from botocore.exceptions import ClientError, ParamValidationError
from watchfiles import watch

from data_prep.options import EnvironmentName
from local import deployment
from local.cloud import DIRECTORY, LocalCloud, LocalCloudError, running_cloud
from local.demonstration import Environment
from local.dev import function_code
from local.dev.activity import Executions, Logs
from local.dev.function_code import Function
from local.dev.stream import Stream
from local.terminal import console
from stacks.config import PROJECT_ROOT
from stacks.shared import prefixes

PICTURES = DIRECTORY / "pictures"
STACKS = "stacks"
CONFIGURATION = ("app.py", "cdk.json")
_POLL_SECONDS = 0.5
_NAMED_FUNCTIONS = 5
_START_SECONDS = 30  # after which an upload without an outcome is given up


@dataclass(frozen=True)
class Meaning:
    """The actions for a set of changed files."""

    code: bool  # new code for functions
    deployment: bool
    pictures: tuple[Path, ...]  # to upload


def meaning(changed: Iterable[Path], *, source: Path, pictures: Path) -> Meaning:
    """The actions for changed files; all paths are absolute."""
    paths = sorted(changed)
    parts = [path.relative_to(source).parts for path in paths if path.is_relative_to(source)]
    return Meaning(
        code=any(part[0] == function_code.FOLDER for part in parts),
        deployment=any(part[0] == STACKS or part in {(name,) for name in CONFIGURATION} for part in parts),
        pictures=tuple(path for path in paths if path.is_relative_to(pictures) and path.is_file()),
    )


def dev(
    env: EnvironmentName = "dev",
    pictures: Annotated[Path, typer.Option(help="Pictures that appear in this folder are classified.")] = PICTURES,
) -> None:
    """Run what you save in the running local cloud within seconds; logs and outcomes in one stream, until Ctrl-C."""
    cloud, config = running_cloud(env)
    try:
        environment = Environment.deployed(config)
    except ClientError:
        raise LocalCloudError(f"environment {env!r} is not deployed: run `python -m local deploy`") from None
    follow(cloud, environment, source=PROJECT_ROOT, pictures=pictures, stream=Stream(console))


@contextmanager
def saved_files(source: Path, pictures: Path) -> Iterator["queue.Queue[set[Path]]"]:
    """Yields sets of files that were saved or removed."""
    saved: queue.Queue[set[Path]] = queue.Queue()
    stop = threading.Event()

    def follow(*folders: Path, recursive: bool) -> None:
        for changes in watch(*folders, recursive=recursive, stop_event=stop, raise_interrupt=False):
            saved.put({Path(path) for _, path in changes})

    # Only folders: a file that an editor replaces is no longer watched. And without the project's .venv
    folders = (source / function_code.FOLDER, source / STACKS, pictures)
    watchers = [
        threading.Thread(target=follow, args=folders, kwargs={"recursive": True}),
        threading.Thread(target=follow, args=(source,), kwargs={"recursive": False}),
    ]
    for watcher in watchers:
        watcher.start()
    try:
        yield saved
    finally:
        stop.set()
        for watcher in watchers:
            watcher.join()


def follow(cloud: LocalCloud, environment: Environment, *, source: Path, pictures: Path, stream: Stream) -> None:
    """Run what is saved in `source`, classify what is dropped into `pictures`, and show what happens, until Ctrl-C."""
    pictures.mkdir(parents=True, exist_ok=True)
    session = Session(cloud, environment, source=source.resolve(), pictures=pictures.resolve(), stream=stream)
    try:
        session.run()
    except KeyboardInterrupt:
        if session.is_deploying:
            stream.fail("the deployment was interrupted; `python -m local deploy` repeats it")
        stream.say("the local cloud goes on, and runs what was saved last; `python -m local down` stops it")


class Session:
    """One run of the command."""

    def __init__(
        self, cloud: LocalCloud, environment: Environment, *, source: Path, pictures: Path, stream: Stream
    ) -> None:
        self._cloud, self._environment, self._stream = cloud, environment, stream
        self._source, self._pictures = source, pictures
        self._functions = self._deployed_functions()
        self._cloudformation, self._s3 = boto3.client("cloudformation"), boto3.client("s3")
        self._logs, self._executions = Logs(), Executions(environment)
        self._uploads: dict[str, float] = {}  # by their keys when, until an execution with them has ended
        self._deployer = ThreadPoolExecutor(max_workers=1)
        self._deployment: Future[tuple[list[str], float]] | None = None
        self._is_stale = True  # there may be earlier edits
        self._is_held = False  # a deployment waits until all syntax errors are fixed

    @property
    def is_deploying(self) -> bool:
        return self._deployment is not None

    def run(self) -> None:
        """Follow files and cloud until an exception, such as that of Ctrl-C."""
        with self._deployer, saved_files(self._source, self._pictures) as saved:
            self._stream.say(f"{len(self._functions)} functions of {self._environment.config.name} run what you save")
            self._stream.say(f"pictures that you drop into {os.path.relpath(self._pictures)} are classified")
            self._update_functions()
            while True:
                self._deploy_if_stale()
                with suppress(queue.Empty):
                    self._take(meaning(saved.get(timeout=_POLL_SECONDS), source=self._source, pictures=self._pictures))
                self._show_activity()

    def _take(self, change: Meaning) -> None:
        if change.code:
            self._update_functions()
        self._is_stale |= change.deployment or (change.code and self._is_held)
        for picture in change.pictures:
            self._upload(picture)

    def _deployed_functions(self) -> list[Function]:
        access_key = self._cloud.emulator.access_key
        return function_code.deployed_functions(self._environment.config.stage_name, access_key=access_key)

    def _update_functions(self) -> None:
        """Update the functions with the saved files. Functions that contain a syntax error keep their code."""
        started = time.monotonic()
        source = function_code.read(self._source, function_code.FOLDER)
        errors = function_code.syntax_errors(source)
        for error in errors.values():
            self._stream.fail(f"{error}; the functions that hold it keep the code that they have")
        changed = function_code.changed(self._functions, source)
        updated = {function.name: function for function in changed if not errors.keys() & function.package.keys()}
        if updated:
            function_code.send(updated.values())
            self._functions = [updated.get(function.name, function) for function in self._functions]
            names = sorted(function.module for function in updated.values())
            text = ", ".join(names) if len(names) <= _NAMED_FUNCTIONS else f"{len(names)} functions"
            self._stream.succeed(f"live: {text}", started=started)

    def _deploy_if_stale(self) -> None:
        if self._deployment and self._deployment.done():
            self._finish(self._deployment)
            self._deployment = None
        if self._is_stale and not self._deployment:
            self._is_stale = False
            # A deployment also publishes the functions' code
            errors = function_code.syntax_errors(function_code.read(self._source, STACKS, function_code.FOLDER))
            for error in errors.values():
                self._stream.fail(f"{error}; nothing is deployed until it is fixed")
            self._is_held = bool(errors)
            if not errors:
                self._stream.say("cdk deploy ...", "dim")
                self._deployment = self._deployer.submit(self._deploy)

    def _deploy(self) -> tuple[list[str], float]:
        """The stacks that a deployment changed, and when it began."""
        started, before = time.monotonic(), self._updates()
        deployment.deploy_source(self._cloud, self._source, self._environment.config.name)
        after = self._updates()
        return [name for name in after if after[name] != before.get(name)], started

    def _updates(self) -> dict[str, object]:
        """The time of each stack's last change."""
        prefix = f"{self._environment.config.stage_name}-"
        pages = self._cloudformation.get_paginator("describe_stacks").paginate()
        return {
            stack["StackName"].removeprefix(prefix): stack.get("LastUpdatedTime", stack["CreationTime"])
            for page in pages
            for stack in page["Stacks"]
            if stack["StackName"].startswith(prefix)
        }

    def _finish(self, ended: "Future[tuple[list[str], float]]") -> None:
        try:
            stacks, started = ended.result()
        except LocalCloudError as error:
            self._stream.fail("\n".join(line.rstrip() for line in str(error).splitlines() if line.strip()))
            return
        self._stream.succeed(f"deployed: {', '.join(stacks) or 'nothing had changed'}", started=started)
        if stacks:  # their functions have the code from the start of the deployment
            self._functions = self._deployed_functions()
            self._update_functions()

    def _upload(self, picture: Path) -> None:
        key = f"{prefixes.INCOMING}{picture.relative_to(self._pictures).as_posix()}"
        try:
            self._s3.put_object(Bucket=self._environment.bucket, Key=key, Body=picture.read_bytes())
        except (ClientError, ParamValidationError, OSError) as error:
            self._stream.fail(f"{picture.name} is not uploaded: {error}")
            return
        self._uploads[key] = time.monotonic()
        self._stream.say(f"↑ {key}")

    def _show_activity(self) -> None:
        for line in self._logs.new_lines({function.module: function.log_group for function in self._functions}):
            self._stream.log(line)
        for outcome in self._executions.new_outcomes():
            self._stream.outcome(outcome)
            for image in outcome.images:
                self._uploads.pop(image["s3_key"], None)
        for key, uploaded in list(self._uploads.items()):
            if time.monotonic() - uploaded > _START_SECONDS:
                del self._uploads[key]
                self._stream.fail(f"{key}: no execution with it has ended within {_START_SECONDS} s")
