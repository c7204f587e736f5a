"""The settings for AWS that this process passes to the CDK command line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_prep.target import Target
from ops import cdk
from ops.cdk import change_stacks, run_cdk
from ops.errors import OpsError


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """That of the command which ran last; the shell has settings of its own."""
    seen: dict[str, str] = {}

    def run(arguments: list[str], *, env: dict[str, str], **_: Any) -> "subprocess.CompletedProcess[str]":
        seen.clear()
        seen.update(env)
        return subprocess.CompletedProcess(arguments, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    return seen


def test_it_uses_the_account_and_region_of_boto3(environment: dict[str, str]) -> None:
    run_cdk("deploy", target=Target("111122223333", "eu-west-1", "https://cloudformation.eu-west-1.amazonaws.com"))
    found = {name: value for name, value in environment.items() if name.startswith(("AWS_", "CDK_DEFAULT_"))}
    assert found.pop("CDK_DEFAULT_ACCOUNT") == "111122223333"
    assert {name for name, value in found.items() if value == "eu-west-1"} == {
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "CDK_DEFAULT_REGION",
    }
    assert found["AWS_PROFILE"] == "mine"


def test_without_a_target_it_finds_no_account(environment: dict[str, str]) -> None:
    run_cdk("synth")
    assert [name for name in environment if name.startswith("AWS_")] == ["AWS_EC2_METADATA_DISABLED"]
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)  # where Node is


def test_it_sends_no_telemetry(environment: dict[str, str]) -> None:
    run_cdk("synth")
    assert environment["CDK_DISABLE_CLI_TELEMETRY"] == environment["CDK_DISABLE_VERSION_CHECK"] == "true"


# What is shown of a deployment

EVENTS = """
dev/Data (scones-dev-Data): deploying... [1/2]
scones-dev-Data | 0/7 | 12:33:30 AM | CREATE_IN_PROGRESS      | AWS::S3::Bucket            | dev/Data/Bucket
scones-dev-Data | 7/7 | 12:33:30 AM | CREATE_COMPLETE         | AWS::IAM::Policy           | dev/Data/SageMakerRole

✅  dev/Data (scones-dev-Data)

Outputs:
devData58C5D5B6.BucketName = scones-dev-data

✅  dev/Model (scones-dev-Model) (no changes)
✅  dev/Bulk (scones-dev-Bulk): destroyed
❌  dev/Workflow failed: _ToolkitError: the stack named scones-dev-Workflow failed creation
"""
LOCAL = Target("000000000000", "us-east-1", "http://127.0.0.1:4566")
ACCOUNT = Target("111122223333", "us-east-1", "https://cloudformation.us-east-1.amazonaws.com")


def printing(monkeypatch: pytest.MonkeyPatch, folder: Path, status: int) -> Path:
    """Let a program stand for cdk that prints these events; returns the log of what it prints."""
    program = folder / "cdk"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{EVENTS}END\nexit {status}\n")
    program.chmod(0o700)
    monkeypatch.setattr(cdk, "EXECUTABLE", program)
    monkeypatch.setattr(cdk, "LOGS", folder / "build")
    return folder / "build" / "cdk-deploy.log"


def test_in_the_local_cloud_each_stack_that_is_done_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = printing(monkeypatch, tmp_path, 0)
    change_stacks("deploy", "dev/*", target=LOCAL)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" s")[0].rpartition(" ")[0] for line in lines] == [
        "✓ dev/Data",
        "✓ dev/Model (no changes)",
        "✓ dev/Bulk: destroyed",
    ]
    assert log.read_text() == EVENTS


@pytest.mark.parametrize(("target", "verbose"), [(LOCAL, True), (ACCOUNT, False)])
def test_all_output_is_shown_for_an_account_and_on_request(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    target: Target,
    verbose: bool,
) -> None:
    printing(monkeypatch, tmp_path, 0)
    change_stacks("deploy", "dev/*", target=target, verbose=verbose)
    assert capfd.readouterr().out == EVENTS


def test_the_end_of_a_failed_commands_log_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = printing(monkeypatch, tmp_path, 3)
    with pytest.raises(OpsError, match=rf"(?s)status 3; the end of {log}:.*scones-dev-Workflow failed creation"):
        change_stacks("deploy", "dev/*", target=LOCAL)
