"""The parts of `python -m local` that need no local cloud."""

import json
import os
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from data_prep.fetch import ARCHIVE_VARIABLE
from local import deployment
from local.cloud import DIRECTORY, LocalCloud, LocalCloudError, Process
from local.demonstration import Environment
from local.dev import function_code
from local.drift import drift
from local.lifecycle import all_, down, up
from local.shell import env, exec_
from stacks.config import PROJECT_ROOT, parse_environment
from tests.unit.data_prep.conftest import picture, write_dataset

CLOUD = LocalCloud(Process("local.emulator", 1, 4566), Process("local.sagemaker", 2, 4567), DIRECTORY)


def test_the_variables_take_precedence_over_the_shells_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LocalCloud, "running", lambda: CLOUD)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "of-an-account")
    monkeypatch.setenv("no_proxy", "example.com")
    env()
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
        env()
    assert capsys.readouterr().out == "false\n"


def test_a_command_gets_the_local_clouds_variables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(LocalCloud, "running", lambda: CLOUD)
    monkeypatch.setattr(os, "execvpe", lambda *arguments: started.append(arguments))
    monkeypatch.setenv("AWS_PROFILE", "of-an-account")
    exec_(["aws", "s3", "ls"])
    ((program, arguments, environment),) = started
    assert (program, arguments) == ("aws", ["aws", "s3", "ls"])
    assert "AWS_PROFILE" not in environment
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalCloud, "running", lambda: CLOUD)
    with pytest.raises(LocalCloudError, match="cannot run no-such-program: No such file"):
        exec_(["no-such-program"])


# Whether it keeps running


class Cloud:
    """Stands for the local cloud of this project: whether it runs, and what was done to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, runs: bool) -> None:
        self.runs = runs
        self.done: list[str] = []
        monkeypatch.setattr(LocalCloud, "is_running", lambda: self.runs)
        monkeypatch.setattr(LocalCloud, "running", lambda: CLOUD)
        monkeypatch.setattr(LocalCloud, "start", self._start)
        monkeypatch.setattr(LocalCloud, "stop_running", self._stop)
        monkeypatch.setattr(LocalCloud, "use", lambda _: None)
        monkeypatch.setattr(LocalCloud, "open_console", lambda *_: "http://its-address")
        monkeypatch.setattr("local.lifecycle.classify", lambda *_: self.done.append("classified"))
        monkeypatch.setattr("local.lifecycle.everything_deployed", lambda *_: self._start())

    def _start(self) -> LocalCloud:
        self.done.append("started")
        self.runs = True
        return CLOUD

    def _stop(self) -> list[Process]:
        stopped = [CLOUD.sagemaker, CLOUD.emulator] if self.runs else []
        self.runs = False
        return stopped


def test_all_leaves_the_cloud_running_and_prints_what_to_try_and_how_to_stop_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = Cloud(monkeypatch, runs=False)
    all_(env="dev")
    assert cloud.runs
    said = capsys.readouterr().out
    for text in ("python -m local drift", "make deploy LOCAL=1 ENV=prod", "http://its-address", "python -m local down"):
        assert text in said


def test_a_script_can_have_it_stopped_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = Cloud(monkeypatch, runs=False)
    all_(env="dev", keep=False)
    assert cloud.done == ["started", "classified"]
    assert not cloud.runs
    assert "keeps running" not in capsys.readouterr().out


@pytest.mark.parametrize(("error", "runs"), [(LocalCloudError, True), (KeyboardInterrupt, False)])
def test_a_failed_run_keeps_the_cloud_and_an_interrupted_one_stops_it(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], runs: bool
) -> None:
    cloud = Cloud(monkeypatch, runs=False)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("local.lifecycle.classify", fail)
    with pytest.raises(error):
        all_(env="dev")
    assert cloud.runs is runs


def test_a_cloud_that_runs_is_used_and_left_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is deployed in it is somebody's."""
    cloud = Cloud(monkeypatch, runs=True)
    monkeypatch.setattr("local.drift.show_drift", lambda *_: cloud.done.append("drifted"))
    up()
    drift(env="dev", keep=False)
    assert cloud.done == ["drifted"]
    assert cloud.runs
    with pytest.raises(LocalCloudError, match="one is running"):
        drift(env="dev", archive=tmp_path)


def test_down_prints_what_it_stopped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Cloud(monkeypatch, runs=True)
    down()
    down()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Stopped the SageMaker stand-in and the AWS emulator, with what was deployed")
    assert second == "No local cloud was running"


# Which data


def test_the_archive_is_remembered_by_the_directory(tmp_path: Path) -> None:
    cloud = LocalCloud(CLOUD.emulator, CLOUD.sagemaker, tmp_path / "cloud")
    assert ARCHIVE_VARIABLE not in cloud.environment
    for name in ("first.tar.gz", "second.tar.gz"):
        (tmp_path / name).touch()
        LocalCloud.remember_archive(tmp_path / name, cloud.directory)
        assert cloud.environment[ARCHIVE_VARIABLE] == str(tmp_path / name)
    with pytest.raises(LocalCloudError, match=r"absent: no such file"):
        LocalCloud.remember_archive(tmp_path / "absent", cloud.directory)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its model was trained on what `trained_on` says."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(Environment, "served_artifact", lambda _: "s3://bucket/models/job-1/output/model.tar.gz")
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield Environment(parse_environment("dev", {}), "bucket", "arn", "arn", "arn", "arn")


def trained_on(**manifest: object) -> None:
    store("models/job-1/manifest.json", manifest)


def store(key: str, manifest: dict[str, object]) -> None:
    boto3.client("s3").put_object(Bucket="bucket", Key=key, Body=json.dumps(manifest).encode())


def test_a_data_set_that_the_model_was_not_trained_on_is_not_scored(environment: Environment, tmp_path: Path) -> None:
    one, other = (write_dataset(tmp_path / f"{n}", n, 4, picture) for n in (10, 12))
    manifest = json.loads((other / "manifest.json").read_bytes())
    trained_on(**manifest)
    store("manifest.json", manifest)
    assert environment.data_set([tmp_path / "absent", one, other]) == other
    with pytest.raises(LocalCloudError, match=r"of job-1, was trained on other .* are not scored: .*absent.*made by"):
        environment.data_set([tmp_path / "absent", one])


def test_a_data_set_that_the_bucket_has_lost_is_not_scored(environment: Environment, tmp_path: Path) -> None:
    """When another was uploaded, and the model that was trained on it is not deployed yet."""
    one, other = (write_dataset(tmp_path / f"{n}", n, 4, picture) for n in (10, 12))
    trained_on(**json.loads((one / "manifest.json").read_bytes()))
    store("manifest.json", json.loads((other / "manifest.json").read_bytes()))
    with pytest.raises(LocalCloudError, match=r"not scored: .* `python -m local deploy --env dev` serves the model"):
        environment.data_set([one, other])


def test_data_that_was_changed_in_the_bucket_must_have_the_classes(environment: Environment, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", 10, 4, picture)
    trained_on(classes=["bicycle", "motorcycle"], data_digest="f" * 64)
    assert environment.data_set([folder]) == folder
    trained_on(classes=["bus", "tractor"], data_digest="f" * 64)
    with pytest.raises(LocalCloudError, match="not scored"):
        environment.data_set([folder])


def test_an_adopted_model_is_scored_on_the_data_set_of_the_bucket(environment: Environment, tmp_path: Path) -> None:
    """Nobody knows what it was trained on."""
    one, other = (write_dataset(tmp_path / f"{n}", n, 4, picture) for n in (10, 12))
    trained_on(classes=["bicycle", "motorcycle"], adopted_from="s3://theirs/model.tar.gz")
    store("manifest.json", json.loads((other / "manifest.json").read_bytes()))
    assert environment.data_set([one, other]) == other
    with pytest.raises(LocalCloudError, match="not scored: it knows no data set of an archive"):
        environment.data_set([one])


@mock_aws
def test_a_deployment_takes_back_code_that_cloudformation_does_not_know_of(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse_environment("dev", {})
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("ssm").put_parameter(Name=config.artifact_parameter, Value="s3://bucket/model.tar.gz", Type="String")
    edited = function_code.Function("scones-dev-f", "f", "/aws/lambda/f", {"lambda_src/__init__.py": b"edited"})
    sent: list[function_code.Function] = []
    monkeypatch.setattr(deployment, "deploy", lambda *_: None)
    monkeypatch.setattr(function_code, "deployed_functions", lambda *_, **__: [edited])
    monkeypatch.setattr(function_code, "send", sent.extend)
    deployment.deploy_ready_stacks(CLOUD, config, Path("assembly"))
    (function,) = sent
    assert function.package["lambda_src/__init__.py"] == (PROJECT_ROOT / "lambda_src" / "__init__.py").read_bytes()
