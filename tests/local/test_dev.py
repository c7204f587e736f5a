"""`python -m local dev` on a copy of the project: saved changes run in the local cloud."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from local import deployment
from local.cloud import LocalCloud
from local.demonstration import Environment, wait_for
from local.dev import function_code
from local.dev.function_code import FOLDER as FUNCTIONS
from local.dev.session import CONFIGURATION, STACKS
from stacks.config import PROJECT_ROOT
from tests.local.conftest import use

PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from local.cloud import LocalCloud
from local.demonstration import Environment
from local.dev import session
from local.dev.stream import Stream
from stacks.config import load_environment

directory, source, pictures = map(Path, sys.argv[1:])
cloud = LocalCloud.running(directory)
cloud.use()
environment = Environment.deployed(load_environment("dev"))
session.follow(cloud, environment, source=source, pictures=pictures, stream=Stream(Console(width=200)))
"""


@dataclass(frozen=True)
class Running:
    """The command, what it watches, and what it has written."""

    process: "subprocess.Popen[bytes]"
    source: Path
    pictures: Path
    output: Path

    def file(self, folder: str, name: str) -> Path:
        (path,) = (self.source / folder).rglob(name)
        return path

    def edit(self, path: Path, change: Callable[[str], str], *, until: str) -> None:
        """Save a changed file, and wait for a line that is written after that."""
        written = len(self.output.read_text())
        before = path.read_text()
        after = change(before)
        assert after != before
        path.write_text(after)
        self.wait_for(until, written=written)

    def wait_for(self, pattern: str, *, written: int = 0) -> None:
        """Wait until the output has the pattern, after as many characters."""

        def found() -> "re.Match[str] | None":
            assert self.process.poll() is None, self.output.read_text()
            return re.search(pattern, self.output.read_text()[written:])

        wait_for(found, f"{pattern!r} in the output", timeout_seconds=300)


@pytest.fixture(scope="module")
def dev(cloud: LocalCloud, assembly: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The command, started with a stack that cannot be read, so that it does not deploy before a test repairs it.

    In the end the cloud that all tests share is again as it was deployed.
    """
    source, pictures = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("pictures")
    for folder in (FUNCTIONS, STACKS):
        shutil.copytree(PROJECT_ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in CONFIGURATION:
        shutil.copy(PROJECT_ROOT / file, source)
    stack = stack_with_grants(source)
    stack.write_text(f"{stack.read_text()}def broken(:\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(cloud, monkeypatch)
        functions = function_code.deployed_functions("scones-dev", access_key=cloud.emulator.access_key)
        output = source / "output"
        with output.open("wb") as written:
            arguments = [str(cloud.directory), str(source), str(pictures)]
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *arguments],
                cwd=PROJECT_ROOT,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        running = Running(process, source, pictures, output)
        try:
            running.wait_for(rf"✗ .*/{stack.name}:\d+: invalid syntax; nothing is deployed until it is fixed")
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            deployment.deploy(cloud, assembly, "dev/*")
            function_code.send(functions)


def stack_with_grants(source: Path) -> Path:
    """Of the functions that classify."""
    (found,) = (
        path
        for path in (source / STACKS / "classification").glob("*.py")
        if '"s3:GetObjectVersion"' in path.read_text()
    )
    return found


def printing(text: str) -> Callable[[str], str]:
    """An edit after which a function's handler prints `text`."""
    return lambda code: re.sub(r"^def handler\(.*:$", rf'\g<0>\n    print("{text}")', code, flags=re.MULTILINE)


def live(module: str) -> str:
    return rf"✓ live: .*\b({module}|functions)\b"


def test_a_saved_function_runs_without_a_deployment(
    dev: Running, environment: Environment, confident_images: list[str]
) -> None:
    dev.edit(dev.file(FUNCTIONS, "filter_confidence.py"), printing("edited"), until=live("filter_confidence"))
    assert environment.classify(confident_images[:1]).counts["ACCEPTED"] == 1
    dev.wait_for(r"filter_confidence +edited")


def test_executions_under_way_are_not_disturbed(
    dev: Running, environment: Environment, confident_images: list[str]
) -> None:
    images = [{"image_data": "", "s3_bucket": environment.bucket, "s3_key": key} for key in confident_images]
    started = boto3.client("stepfunctions").start_execution(
        stateMachineArn=environment.state_machine_arn, input=json.dumps({"images": images})
    )
    for number in range(3):
        for module in ("classifier", "serialize_image_data"):
            dev.edit(dev.file(FUNCTIONS, f"{module}.py"), printing(f"edit {number}"), until=live(module))
    assert environment.follow(started["executionArn"]).counts["ACCEPTED"] == len(images)


def test_a_syntax_error_is_shown_with_its_line_and_the_old_code_keeps_running(
    dev: Running, environment: Environment, confident_images: list[str]
) -> None:
    file = dev.file(FUNCTIONS, "filter_confidence.py")
    lines = file.read_text().count("\n")
    dev.edit(
        file, lambda code: f"{code}def broken(:\n", until=rf"✗ .*/filter_confidence\.py:{lines + 1}: invalid syntax"
    )
    assert environment.classify(confident_images[:1]).counts["ACCEPTED"] == 1
    dev.edit(
        file,
        lambda code: printing("repaired")(code.replace("def broken(:\n", "")),
        until=live("filter_confidence"),
    )
    environment.classify(confident_images[:1])
    dev.wait_for(r"filter_confidence +repaired")


def test_a_dropped_picture_is_classified(dev: Running, environment: Environment, confident_images: list[str]) -> None:
    picture = boto3.client("s3").get_object(Bucket=environment.bucket, Key=confident_images[0])["Body"].read()
    (dev.pictures / "a picture.png").write_bytes(picture)
    (dev.pictures / "a text.png").write_bytes(b"text")
    dev.wait_for(r"incoming/a picture\.png: \w+, confidence [01]\.\d+, ACCEPTED")
    dev.wait_for(r"incoming/a text\.png: FAILED, CorruptImageError: neither PNG nor JPEG")


def test_configuration_definitions_and_grants_are_deployed_and_errors_on_the_way_are_shown(
    dev: Running, environment: Environment
) -> None:
    def configure(**settings: float) -> Callable[[str], str]:
        def change(text: str) -> str:
            content = json.loads(text)
            content["context"]["environments"]["dev"].update(settings)
            return json.dumps(content)

        return change

    configuration, stack = dev.source / "cdk.json", stack_with_grants(dev.source)
    lines = stack.read_text().count("\n")
    broken = rf"✗ .*/{stack.name}:{lines}: invalid syntax; nothing is deployed"
    dev.edit(configuration, configure(confidence_threshold=7, map_concurrency=3), until=broken)
    dev.edit(
        stack,
        lambda code: code.replace("def broken(:\n", "").replace(
            '"s3:GetObjectVersion"', '"s3:GetObjectVersion", "s3:GetObjectTagging"', 1
        ),
        until="confidence_threshold = 7: should be less",
    )
    dev.edit(configuration, configure(confidence_threshold=0.25), until=r"✓ deployed: .*Workflow")
    machine = boto3.client("stepfunctions").describe_state_machine(stateMachineArn=environment.state_machine_arn)
    assert '"MaxConcurrency":3' in machine["definition"].replace(" ", "")
    function = function_named("FilterConfidence")
    assert function["Environment"]["Variables"]["CONFIDENCE_THRESHOLD"] == "0.25"
    role = function_named("SerializeImageData")["Role"].rpartition("/")[2]
    iam = boto3.client("iam")
    policies = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    assert "s3:GetObjectTagging" in json.dumps(policies)


def function_named(construct_id: str) -> Any:
    pages = boto3.client("lambda").get_paginator("list_functions").paginate()
    (function,) = (f for page in pages for f in page["Functions"] if f"-{construct_id}" in f["FunctionName"])
    return function


def test_ctrl_c_leaves_the_cloud_running_with_what_was_saved(
    dev: Running, cloud: LocalCloud, environment: Environment, confident_images: list[str]
) -> None:
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(timeout=60) == 0
    assert "the local cloud goes on" in dev.output.read_text().splitlines()[-1]
    assert LocalCloud.is_running(cloud.directory)
    assert environment.classify(confident_images[:1]).counts["ACCEPTED"] == 1
    source = function_code.read(dev.source, FUNCTIONS)
    functions = function_code.deployed_functions("scones-dev", access_key=cloud.emulator.access_key)
    assert function_code.changed(functions, source) == []
