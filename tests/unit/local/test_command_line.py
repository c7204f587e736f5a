"""`python -m local`, as far as it needs no local cloud."""

import os
from pathlib import Path

import pytest

from local import __main__ as command_line
from local.cloud import LocalCloud, LocalCloudError, Process
from stacks.config import parse_environment


@pytest.mark.parametrize(
    "command", [command_line.all_, command_line.drift, command_line.retrain, command_line.deploy, command_line.run]
)
def test_an_endpoint_that_only_aws_can_run_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, command: object
) -> None:
    config = parse_environment("dev", {"endpoint": {"kind": "serverless"}})
    monkeypatch.setattr(command_line, "load_environment", lambda _: config)
    assert callable(command)
    with pytest.raises(LocalCloudError, match="has a serverless endpoint, and the local cloud runs realtime ones only"):
        command(env="dev")


CLOUD = LocalCloud(Process("local.emulator", 1, 4566), Process("local.sagemaker", 2, 4567), Path("build/local"))


def test_the_variables_take_precedence_over_whatever_credentials_the_shell_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LocalCloud, "running", lambda: CLOUD)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "of-an-account")
    monkeypatch.setenv("no_proxy", "example.com")
    command_line.env()
    lines = capsys.readouterr().out.splitlines()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL_S3"):
        assert f"unset {name}" in lines
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:4566" in lines
    assert "export NO_PROXY=example.com,127.0.0.1,localhost" in lines
    assert "export no_proxy=example.com,127.0.0.1,localhost" in lines


def test_without_a_local_cloud_the_evaluated_output_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LocalCloud, "is_running", lambda *_: False)
    with pytest.raises(LocalCloudError, match="no local cloud is running"):
        command_line.env()
    assert capsys.readouterr().out == "false\n"


def test_a_command_gets_the_local_clouds_variables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(LocalCloud, "running", lambda: CLOUD)
    monkeypatch.setattr(os, "execvpe", lambda *arguments: started.append(arguments))
    monkeypatch.setenv("AWS_PROFILE", "of-an-account")
    command_line.exec_(["aws", "s3", "ls"])
    ((program, arguments, environment),) = started
    assert (program, arguments) == ("aws", ["aws", "s3", "ls"])
    assert "AWS_PROFILE" not in environment
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalCloud, "running", lambda: CLOUD)
    with pytest.raises(LocalCloudError, match="cannot run no-such-program: No such file"):
        command_line.exec_(["no-such-program"])
