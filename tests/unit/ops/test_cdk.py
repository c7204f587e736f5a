"""What the CDK command line is given of this process's settings for AWS."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_prep.target import Target
from ops.cdk import run_cdk


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


def test_it_goes_to_the_account_and_region_that_boto3_goes_to(environment: dict[str, str]) -> None:
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


def test_it_reports_to_nobody(environment: dict[str, str]) -> None:
    run_cdk("synth")
    assert environment["CDK_DISABLE_CLI_TELEMETRY"] == environment["CDK_DISABLE_VERSION_CHECK"] == "true"
