"""The commands that need AWS, as users run them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner, Result

from data_prep import __main__ as command_line
from data_prep import aws
from data_prep.baseline import StoredBaseline
from data_prep.errors import DataPrepError, DownloadError
from data_prep.fetch import ARCHIVE_VARIABLE
from data_prep.sample import generate_archive
from local.sagemaker.control_plane import ControlPlane
from stacks.config import EnvironmentConfig, parse_environment
from stacks.shared.algorithm import IMAGE_CLASSIFICATION
from tests.unit.data_prep.conftest import archive_of, split_of


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(
        command_line.application(), [str(argument) for argument in arguments], catch_exceptions=False
    )


def _jobs() -> list[str]:
    return [job["TrainingJobName"] for job in aws.sagemaker().list_training_jobs()["TrainingJobSummaries"]]


pytestmark = pytest.mark.usefixtures("plane")


def test_upload_reports_what_it_did(folder: Path, cloud: str) -> None:
    first = _run("upload", "--dataset", folder)
    assert first.exit_code == 0
    assert first.stdout.startswith(f"s3://{cloud}: 43 of 43 files uploaded (")
    assert first.stdout.endswith("0 deleted; it holds exactly the data set\n")
    again = _run("upload", "--dataset", folder, "--json")
    assert json.loads(again.stdout) == {"bucket": cloud, "files": 43, "uploaded": 0, "uploaded_bytes": 0, "deleted": 0}
    assert again.stderr == ""


def test_upload_deletes_what_is_too_much_on_request(folder: Path, cloud: str) -> None:
    aws.s3().put_object(Bucket=cloud, Key="test/old.png", Body=b"")
    assert json.loads(_run("upload", "--dataset", folder, "--delete-extra", "--json").stdout)["deleted"] == 1


def test_train_follows_the_job_and_publishes_the_model(uploaded: Path, cloud: str) -> None:
    result = _run("train", "--dataset", uploaded)
    assert result.exit_code == 0
    (job,) = _jobs()
    uri = f"s3://{cloud}/models/{job}/output/model.tar.gz"
    assert result.stdout == (f"{uri}\nvalidation accuracy 0.900, 1 s billable\nDeploy it with `make deploy ENV=dev`\n")
    assert result.stderr == f"Started {job}\n"
    assert aws.ssm().get_parameter(Name="/scones/dev/model/artifact-uri")["Parameter"]["Value"] == uri

    again = _run("train", "--dataset", uploaded, "--json", "--quiet")
    assert json.loads(again.stdout)["artifact_uri"] == uri
    assert again.stderr == ""
    assert _jobs() == [job]


def test_train_continues_with_an_available_instance_type(uploaded: Path, cloud: str, plane: ControlPlane) -> None:
    plane.withheld = {"ml.p3.2xlarge": "quota", "ml.g4dn.xlarge": "capacity"}
    result = _run("train", "--dataset", uploaded, "--json")
    failed, completed = _jobs()
    assert json.loads(result.stdout)["job"] == completed == f"{failed[:-1]}2", "a job without capacity took its name"
    assert plane._training_jobs[completed]["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
    no_quota, started, no_capacity, started_again = result.stderr.splitlines()
    assert no_quota.startswith("ml.p3.2xlarge is not available (The account-level service limit")
    assert (started, started_again) == (f"Started {failed}", f"Started {completed}")
    assert no_capacity.startswith("ml.g4dn.xlarge is not available (CapacityError: Unable to provision")
    assert no_capacity.endswith("): trying ml.g5.xlarge")


def test_train_without_waiting_prints_how_to_follow_the_job(uploaded: Path, cloud: str) -> None:
    result = _run("train", "--dataset", uploaded, "--no-wait")
    (job,) = _jobs()
    assert result.stdout == f"{job}\nFollow it with `python -m data_prep train --env dev --resume {job}`\n"
    assert not aws.ssm().describe_parameters()["Parameters"]
    assert _run("train", "--resume", job).exit_code == 0
    assert len(aws.ssm().describe_parameters()["Parameters"]) == 3


def test_an_interruption_leaves_the_job_running_and_prints_how_to_follow_it(
    uploaded: Path, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("data_prep.train.wait_for_job", interrupt)
    result = _run("train", "--dataset", uploaded)
    (job,) = _jobs()
    assert result.exit_code == 130
    assert (
        f"{job} keeps running; follow it again with `python -m data_prep train --env dev --resume {job}`"
        in result.stderr
    )


def test_spot_can_be_chosen_for_one_job(uploaded: Path, cloud: str) -> None:
    _run("train", "--dataset", uploaded, "--no-wait", "--spot")
    (name,) = _jobs()
    job = aws.sagemaker().describe_training_job(TrainingJobName=name)
    assert job["EnableManagedSpotTraining"] is True


# Run: whatever is missing


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two small archives, of 8 and 10 training images, which are enough for a batch; a folder of the test's own."""
    monkeypatch.setattr("data_prep.dataset.PROJECT_ROOT", tmp_path)
    monkeypatch.setitem(IMAGE_CLASSIFICATION.presets["scratch"], "mini_batch_size", "8")
    return [
        archive_of(tmp_path / f"{n}.tar.gz", train=split_of(16 + 4 * n, n), test=split_of(16, n + 9)) for n in range(2)
    ]


def _objects(bucket: str) -> dict[str, Any]:
    return {item["Key"]: item["LastModified"] for item in aws.s3().list_objects_v2(Bucket=bucket)["Contents"]}


def _prepared(*arguments: object) -> tuple[dict[str, Any], str]:
    """The model that `run` leaves, and what it said."""
    result = _run("run", *arguments, "--json")
    assert result.exit_code == 0
    model: dict[str, Any] = json.loads(result.stdout)
    assert model["artifact_uri"] == aws.ssm().get_parameter(Name="/scones/dev/model/artifact-uri")["Parameter"]["Value"]
    return model, result.stderr


@pytest.fixture
def baselines(monkeypatch: pytest.MonkeyPatch) -> list[EnvironmentConfig]:
    """Stands for Batch Transform; who asked for a baseline."""
    asked: list[EnvironmentConfig] = []

    def store(config: EnvironmentConfig) -> StoredBaseline:
        asked.append(config)
        return StoredBaseline(key="models/j/baseline.json", size=40, is_new=len(asked) == 1)

    monkeypatch.setattr("data_prep.run.store_baseline", store)
    return asked


def test_run_does_all_of_it_and_then_only_what_is_left(
    archives: list[Path], cloud: str, baselines: list[EnvironmentConfig]
) -> None:
    model, said = _prepared("--archive", archives[0])
    assert model["classes"] == ["bicycle", "motorcycle"]
    assert model["hyperparameters"]["num_training_samples"] == "8"
    for line in ("Built ", "19 of 19 files uploaded, 0 deleted", f"Started {model['job']}", "Computed the baseline"):
        assert line in said
    before = _objects(cloud)
    for arguments, kept in (
        ([], "Keeping the model of"),
        (["--archive", archives[0]], "Same data: keeping the model of"),
    ):
        again, said = _prepared(*arguments)
        assert again == model
        assert f"{kept} {model['job']}" in said
        assert "Reusing the baseline" in said
    assert _objects(cloud) == before
    assert len(_jobs()) == 1
    assert len(baselines) == 3


def test_run_trains_on_another_archive_although_there_is_a_model(
    archives: list[Path], cloud: str, baselines: list[EnvironmentConfig]
) -> None:
    first, _ = _prepared("--archive", archives[0])
    second, said = _prepared("--archive", archives[1])
    assert first["data_digest"] != second["data_digest"]
    assert second["hyperparameters"]["num_training_samples"] == "10"
    assert f"Started {second['job']}" in said
    back, said = _prepared("--archive", archives[0])
    assert back == first
    assert f"Reusing {first['job']} (same data and parameters)" in said
    assert ", 18 deleted" in said, "the bucket holds the archive that was named, and nothing else"


def test_run_continues_where_it_was_interrupted(
    archives: list[Path], cloud: str, monkeypatch: pytest.MonkeyPatch, baselines: list[EnvironmentConfig]
) -> None:
    """With the data there, but no model; then with a model, but no baseline."""
    with monkeypatch.context() as patched:
        patched.setattr("data_prep.run.train_model", _interrupt)
        assert _run("run", "--archive", archives[0]).exit_code == 130
    archives[0].unlink()
    with monkeypatch.context() as patched:
        patched.setattr("data_prep.run.store_baseline", _interrupt)
        result = _run("run")
    assert result.exit_code == 130
    assert "Reusing " in result.stderr
    assert "0 of 19 files uploaded" in result.stderr
    model, said = _prepared()
    assert f"Keeping the model of {model['job']}" in said
    assert "Computed the baseline" in said


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_run_trains_again_if_the_configuration_requires_another_model(
    archives: list[Path], cloud: str, monkeypatch: pytest.MonkeyPatch, baselines: list[EnvironmentConfig]
) -> None:
    first, _ = _prepared("--archive", archives[0])
    changed = parse_environment("dev", {"training": {"hyperparameters": {"epochs": 3}}})
    monkeypatch.setattr("data_prep.run.load_environment", lambda _: changed)
    second, said = _prepared()
    assert (second["data_digest"], second["hyperparameters"]["epochs"]) == (first["data_digest"], "3")
    assert "Reusing " in said


def test_a_model_serves_even_if_its_baseline_fails(
    archives: list[Path], cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, said = _prepared("--archive", archives[0])
    assert "Warning: no baseline for the drift monitor; the next run tries again: " in said
    assert "has 8 images, but a baseline needs at least 40" in said

    def refuse(_: object) -> StoredBaseline:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "CreateTransformJob")

    monkeypatch.setattr("data_prep.run.store_baseline", refuse)
    _, said = _prepared()
    assert "the next run tries again: AWS refused CreateTransformJob" in said


def test_data_that_somebody_changed_and_retrained_on_are_not_replaced(
    archives: list[Path], cloud: str, baselines: list[EnvironmentConfig]
) -> None:
    model, _ = _prepared("--archive", archives[0])
    changed = {"classes": model["classes"], "data_digest": "f" * 64}  # as retraining knows data that no archive has
    aws.s3().put_object(Bucket=cloud, Key=f"models/{model['job']}/manifest.json", Body=json.dumps(changed).encode())
    before = _objects(cloud)
    with pytest.raises(DataPrepError, match=r"Omit --archive and --synthetic .* to keep model and data"):
        _run("run", "--archive", archives[1])
    assert _objects(cloud) == before
    assert _prepared()[0] == model


def test_synthetic_data_of_the_local_cloud_are_not_trained_on_in_an_account(
    archives: list[Path], tmp_path: Path, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both build the data set in one folder."""
    generated = generate_archive(
        tmp_path / "generated.tar.gz", classes=("bicycle", "motorcycle"), train_per_class=5, test_per_class=4
    )
    _run("build", "--archive", generated)

    def fetch(**_: object) -> Path:
        raise DownloadError("the host cannot be reached")

    monkeypatch.setattr("data_prep.fetch.fetch_archive", fetch)
    with pytest.raises(DownloadError, match="cannot be reached"):
        _run("run")
    monkeypatch.setattr("data_prep.run.is_local", lambda: True)
    assert "Reusing" in _run("run").stderr


def test_the_archive_named_by_the_environment_replaces_any_other(
    archives: list[Path], cloud: str, monkeypatch: pytest.MonkeyPatch, baselines: list[EnvironmentConfig]
) -> None:
    """It is the local cloud's, which was given it before; a model that fits is kept even so."""
    monkeypatch.setattr("data_prep.run.is_local", lambda: True)
    monkeypatch.setattr("data_prep.fetch.fetch_archive", _not_called)
    _run("build", "--archive", archives[1])
    monkeypatch.setenv(ARCHIVE_VARIABLE, str(archives[0]))
    model, _ = _prepared()
    assert model["hyperparameters"]["num_training_samples"] == "8"
    archives[0].unlink()
    assert _prepared()[0] == model
    with pytest.raises(DownloadError, match=r"0\.tar\.gz, the archive that CIFAR_100_ARCHIVE names, does not exist"):
        _run("fetch")


def _not_called(**_: object) -> Path:
    raise AssertionError("the archive is there")


def test_an_archive_and_synthetic_data_exclude_each_other(archives: list[Path], cloud: str) -> None:
    result = _run("run", "--archive", archives[0], "--synthetic")
    assert result.exit_code == 2
    assert "cannot be combined with --archive" in result.stderr


@pytest.mark.parametrize("command", [["upload"], ["train"], ["train", "--resume", "other"]])
def test_an_error_is_one_line_and_exit_code_1(
    tmp_path: Path, cloud: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["data_prep", *command, "--dataset", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: ")
    assert printed.err.count("\n") == 1
