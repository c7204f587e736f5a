"""The commands that need AWS, as users run them."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from data_prep import __main__ as command_line
from data_prep import aws
from data_prep.sample import draw_archive
from data_prep.upload import upload_dataset
from local.sagemaker.control_plane import ControlPlane


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(command_line.app, [str(argument) for argument in arguments], catch_exceptions=False)


def _jobs() -> list[str]:
    return [job["TrainingJobName"] for job in aws.sagemaker().list_training_jobs()["TrainingJobSummaries"]]


pytestmark = pytest.mark.usefixtures("plane")


def test_upload_tells_what_it_did(folder: Path, cloud: str) -> None:
    first = _run("upload", "--dataset", folder)
    assert first.exit_code == 0
    assert first.stdout.startswith(f"s3://{cloud}: 53 of 53 files uploaded (")
    assert first.stdout.endswith("0 deleted; it holds exactly the data set\n")
    again = _run("upload", "--dataset", folder, "--json")
    assert json.loads(again.stdout) == {"bucket": cloud, "files": 53, "uploaded": 0, "uploaded_bytes": 0, "deleted": 0}
    assert again.stderr == ""


def test_upload_deletes_what_is_too_much_on_request(folder: Path, cloud: str) -> None:
    aws.s3().put_object(Bucket=cloud, Key="test/old.png", Body=b"")
    assert json.loads(_run("upload", "--dataset", folder, "--delete-extra", "--json").stdout)["deleted"] == 1


def test_train_follows_the_job_and_hands_the_model_over(folder: Path, cloud: str) -> None:
    upload_dataset(folder, cloud)
    result = _run("train", "--dataset", folder)
    assert result.exit_code == 0
    (job,) = _jobs()
    uri = f"s3://{cloud}/models/{job}/output/model.tar.gz"
    assert result.stdout == (f'{uri}\nvalidation accuracy 0.900, 1 s billable\nDeploy it with `cdk deploy "dev/*"`\n')
    assert result.stderr == f"Started {job}\n"
    assert aws.ssm().get_parameter(Name="/scones/dev/model/artifact-uri")["Parameter"]["Value"] == uri

    again = _run("train", "--dataset", folder, "--json", "--quiet")
    assert json.loads(again.stdout)["artifact_uri"] == uri
    assert again.stderr == ""
    assert _jobs() == [job]


def test_train_goes_on_to_an_instance_type_that_can_be_had(folder: Path, cloud: str, plane: ControlPlane) -> None:
    upload_dataset(folder, cloud)
    plane.withheld = {"ml.p3.2xlarge": "quota", "ml.g4dn.xlarge": "capacity"}
    result = _run("train", "--dataset", folder, "--json")
    failed, completed = _jobs()
    assert json.loads(result.stdout)["job"] == completed == f"{failed[:-1]}2", "a job without capacity took its name"
    assert plane._training_jobs[completed]["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
    no_quota, started, no_capacity, started_again = result.stderr.splitlines()
    assert no_quota.startswith("ml.p3.2xlarge cannot be had (The account-level service limit")
    assert (started, started_again) == (f"Started {failed}", f"Started {completed}")
    assert no_capacity.startswith("ml.g4dn.xlarge cannot be had (CapacityError: Unable to provision")
    assert no_capacity.endswith("): trying ml.g5.xlarge")


def test_train_without_waiting_says_how_to_go_on(folder: Path, cloud: str) -> None:
    upload_dataset(folder, cloud)
    result = _run("train", "--dataset", folder, "--no-wait")
    (job,) = _jobs()
    assert result.stdout == f"{job}\nFollow it with `python -m data_prep train --env dev --resume {job}`\n"
    assert not aws.ssm().describe_parameters()["Parameters"]
    assert _run("train", "--resume", job).exit_code == 0
    assert len(aws.ssm().describe_parameters()["Parameters"]) == 2


def test_an_interruption_leaves_the_job_and_says_how_to_go_on(
    folder: Path, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "wait_for_job", interrupt)
    upload_dataset(folder, cloud)
    result = _run("train", "--dataset", folder)
    (job,) = _jobs()
    assert result.exit_code == 130
    assert f"{job} goes on; follow it again with `python -m data_prep train --env dev --resume {job}`" in result.stderr


def test_spot_and_preset_can_be_chosen_for_one_job(folder: Path, cloud: str) -> None:
    upload_dataset(folder, cloud)
    _run("train", "--dataset", folder, "--no-wait", "--spot", "--preset", "transfer")
    (name,) = _jobs()
    job = aws.sagemaker().describe_training_job(TrainingJobName=name)
    assert job["EnableManagedSpotTraining"] is True
    assert job["HyperParameters"]["use_pretrained_model"] == "1"


def test_run_does_all_of_it_and_then_only_what_is_left(
    tmp_path: Path, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, folder = tmp_path / "archive.tar.gz", tmp_path / "dev"
    draw_archive(archive, classes=("bicycle", "motorcycle"), train_per_class=20, test_per_class=4, seed=1)
    monkeypatch.setattr(command_line, "default_folder", lambda _: folder)
    model = json.loads(_run("run", "--archive", archive, "--json").stdout)
    assert model["classes"] == ["bicycle", "motorcycle"]
    assert model["hyperparameters"]["num_training_samples"] == "40"
    assert model["artifact_uri"] == aws.ssm().get_parameter(Name="/scones/dev/model/artifact-uri")["Parameter"]["Value"]

    def no_build(*_: object, **__: object) -> None:
        pytest.fail("built again")

    monkeypatch.setattr(command_line, "build_dataset", no_build)
    uploaded = {item["Key"]: item["LastModified"] for item in aws.s3().list_objects_v2(Bucket=cloud)["Contents"]}
    assert json.loads(_run("run", "--archive", archive, "--json").stdout) == model
    assert {
        item["Key"]: item["LastModified"] for item in aws.s3().list_objects_v2(Bucket=cloud)["Contents"]
    } == uploaded
    assert len(_jobs()) == 1


def test_run_builds_anew_from_another_archive(tmp_path: Path, cloud: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "default_folder", lambda _: tmp_path / "dev")
    digests = []
    for seed in (1, 2):
        archive = tmp_path / f"{seed}.tar.gz"
        draw_archive(archive, classes=("bicycle", "motorcycle"), train_per_class=20, test_per_class=4, seed=seed)
        digests.append(json.loads(_run("run", "--archive", archive, "--json").stdout)["data_digest"])
    assert digests[0] != digests[1]
    assert len(_jobs()) == 2


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
