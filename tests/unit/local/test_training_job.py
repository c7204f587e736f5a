"""The stand-in's training jobs: channels, artifacts, metrics and failures."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from local.sagemaker import builtin, training
from local.sagemaker.errors import JobFailedError
from tests.container_tree import write_job
from tests.unit.stand_in import client_for
from tests.unit.stored import create_bucket, place

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGISTRY = "1.dkr.ecr.us-east-1.amazonaws.com"
BUILTIN = {"TrainingImage": f"{REGISTRY}/image-classification:1"}
SCIKIT_LEARN = {
    "TrainingImage": f"{REGISTRY}/sagemaker-scikit-learn:1.9-0-cpu-py3",
    "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
    "MetricDefinitions": [{"Name": "validation:accuracy", "Regex": "validation:accuracy=([0-9.]+)"}],
}
# Trains in no time, and leaves the files of model_src/train.py
QUICK_TRAIN = """
import pathlib, shutil
code = pathlib.Path(__file__).absolute().parent
artifact = code.parents[2] / "model"
shutil.copytree(code, artifact / "code")
(artifact / "model.npz").write_bytes(b"trained")
print("validation:accuracy=0.9")
"""
CHANNELS = ("train", "validation", "train_lst", "validation_lst", "code")


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The objects of a job's channels."""
    data = write_job(tmp_path_factory.mktemp("job")) / "input" / "data"
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*.*")}


@pytest.fixture
def s3(channels: dict[str, bytes]) -> Iterator["S3Client"]:
    """A bucket with the channels of a job."""
    with mock_aws():
        create_bucket("data")
        for key, content in channels.items():
            place("data", key, content)
        yield client_for("s3")


def job(specification: dict[str, Any], *, without: str = "", **hyperparameters: str) -> dict[str, Any]:
    return {
        "TrainingJobName": "a-job",
        "AlgorithmSpecification": specification,
        "HyperParameters": {"num_classes": "2", "num_training_samples": "8", **hyperparameters},
        "InputDataConfig": [
            {"ChannelName": name, "DataSource": {"S3DataSource": {"S3Uri": f"s3://data/{name}/"}}}
            for name in CHANNELS
            if name != without and (name != "code" or specification is not BUILTIN)
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://data/models/"},
    }


def files_of(s3: "S3Client", result: training.TrainingResult) -> set[str]:
    assert result.artifact_uri == "s3://data/models/a-job/output/model.tar.gz"
    body = s3.get_object(Bucket="data", Key="models/a-job/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return {member.name for member in archive if member.isfile()}


def test_both_algorithms_train_the_same_model_once_and_hand_it_over_as_each_does(
    s3: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(builtin.CODE, tmp_path / "code", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "code" / "train.py").write_text(QUICK_TRAIN)
    monkeypatch.setattr(builtin, "CODE", tmp_path / "code")
    place("data", "code/train.py", QUICK_TRAIN)
    script = training.run(job(SCIKIT_LEARN), s3, cache=tmp_path / "cache")
    assert files_of(s3, script) == {"model.npz", *(f"code/{n}.py" for n in ("train", "inference", "model", "images"))}
    monkeypatch.setattr(training, "_run_entrypoint", lambda *_, **__: pytest.fail("trained again"))
    of_builtin = training.run(job(BUILTIN, mini_batch_size="8", epochs="100"), s3, cache=tmp_path / "cache")
    assert files_of(s3, of_builtin) == {
        "image-classification-0000.params",
        "image-classification-symbol.json",
        "model-shapes.json",
    }
    assert script.metrics == of_builtin.metrics == {"validation:accuracy": 0.9}


def test_other_data_or_code_are_trained_again(s3: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []

    def key(*given: Any) -> str:
        keys.append(original(*given))
        raise JobFailedError("far enough")

    original = training._key
    monkeypatch.setattr(training, "_key", key)
    changed = ["train/0.png", "validation/0.png", "train_lst/train.lst", "code/train.py"]
    for name in ("", "", *changed):
        if name:
            place("data", name, b"other")
        with pytest.raises(JobFailedError, match="far enough"):
            training.run(job(SCIKIT_LEARN), s3, cache=tmp_path / "cache")
    assert keys[0] == keys[1]
    assert len(set(keys)) == 1 + len(changed)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            job(BUILTIN, num_training_samples="5", mini_batch_size="2"),
            "^ClientError: num_training_samples is 5, the",
        ),
        (job(BUILTIN, mini_batch_size="9"), "^ClientError: mini_batch_size 9 is above num_training_samples 8"),
        (job(BUILTIN), "^ClientError: mini_batch_size 32 is above num_training_samples 8"),
        (job(BUILTIN, mini_batch_size="many"), "^ClientError: hyperparameter: invalid literal"),
        (job(BUILTIN, num_classes="3", mini_batch_size="2"), r"^ClientError: the labels are \[0, 1\], but 3 classes"),
        (job(BUILTIN, without="train_lst"), "^ClientError: missing channel train_lst"),
        (job(SCIKIT_LEARN, num_classes="3"), r"^AlgorithmError: the labels are \[0, 1\].*, exit code: 1$"),
        (job(SCIKIT_LEARN, without="train_lst"), "^AlgorithmError: channel train_lst has no .lst.*, exit code: 1$"),
        (job(SCIKIT_LEARN, without="code"), "^AlgorithmError: , exit code: 2$"),
        (job({"TrainingImage": SCIKIT_LEARN["TrainingImage"]}), "no script mode: set ContainerEntrypoint"),
    ],
)
def test_a_job_that_fails_gives_the_reason_that_sagemaker_gives(
    s3: "S3Client", tmp_path: Path, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(JobFailedError, match=message):
        training.run(request_, s3, cache=tmp_path / "cache")
    assert "Contents" not in s3.list_objects_v2(Bucket="data", Prefix="models/")


def test_a_channel_without_objects_fails_the_download(s3: "S3Client", tmp_path: Path) -> None:
    s3.delete_object(Bucket="data", Key="validation_lst/validation.lst")
    with pytest.raises(
        JobFailedError, match="Data download failed: no S3 objects found under s3://data/validation_lst/"
    ):
        training.run(job(BUILTIN), s3, cache=tmp_path / "cache")


def test_a_metric_is_the_last_that_the_log_has() -> None:
    log = "validation:accuracy=0.5\nvalidation:accuracy=0.75\n"
    definitions = [
        {"Name": "validation:accuracy", "Regex": "validation:accuracy=([0-9.]+)"},
        {"Name": "absent", "Regex": "absent=(.*)"},
    ]
    assert training.read_metrics(log, definitions) == {"validation:accuracy": 0.75}
