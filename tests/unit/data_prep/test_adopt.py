"""A model from elsewhere in the account inside the process; Batch Transform's output is written here."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_prep import aws
from data_prep.adopt import adopt_model, check_artifact
from data_prep.artifact import baseline_problem, current_artifact
from data_prep.errors import AdoptionError, DataPrepError
from data_prep.run import _check_not_changed
from lambda_src.retraining.release import job_of
from lambda_src.shared.model_documents import document_key
from stacks.config import EnvironmentConfig, parse_environment
from tests.unit.data_prep.conftest import batch_transform, list_validation_images
from tests.unit.stored import create_bucket, place

THEIRS = "sagemaker-us-east-1-111122223333"
URI = f"s3://{THEIRS}/models/image-classification-2024-12-22/output/model.tar.gz"
FILES = {
    "image-classification-0010.params": b"weights",
    "image-classification-symbol.json": b'{"nodes": []}',
    "model-shapes.json": b'[{"shape": [1, 3, 32, 32], "name": "data"}]',
}


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ARTIFACT = packed(FILES)


@pytest.fixture
def theirs(cloud: str) -> str:
    """The environment's validation images, and a bucket of the original with its artifact."""
    list_validation_images(cloud)
    create_bucket(THEIRS)
    place(THEIRS, URI.partition(f"{THEIRS}/")[2], ARTIFACT)
    return cloud


@pytest.fixture
def transforms(cloud: str) -> Iterator[list[Any]]:
    """The adopted model predicts 36 of 40 images correctly; the requests of its jobs."""
    with batch_transform(cloud, lambda number: 0.9 if (number % 2 == 0) == (number >= 4) else 0.1) as started:
        yield started


def test_an_artifact_is_checked_copied_evaluated_and_handed_over(
    theirs: str, config: EnvironmentConfig, transforms: list[Any]
) -> None:
    model = adopt_model(config, URI)
    assert model.job.startswith("scones-dev-adopted-")
    assert (model.accuracy, model.classes) == (0.9, ("bicycle", "motorcycle"))
    assert job_of(model.artifact_uri) == model.job
    key = model.artifact_uri.removeprefix(f"s3://{theirs}/")
    assert aws.s3().get_object(Bucket=theirs, Key=key)["Body"].read() == ARTIFACT
    found = current_artifact(config)
    assert found is not None
    assert (found.uri, found.job, found.mismatch) == (model.artifact_uri, model.job, "")
    assert found.origin == f"which was adopted from {URI}"
    assert baseline_problem(config, found) == ""
    assert len(transforms) == 1


def test_a_model_that_swaps_the_classes_is_not_published(
    theirs: str, config: EnvironmentConfig, transforms: list[Any]
) -> None:
    list_validation_images(theirs, labels=(1, 0))
    with pytest.raises(
        AdoptionError, match=r"accuracy of 0\.100 .* below the 0\.8 .* Are its labels, in this order, bi"
    ):
        adopt_model(config, URI)
    assert current_artifact(config) is None
    list_validation_images(theirs)
    assert adopt_model(config, URI).accuracy == 0.9


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("model.tar.gz", "is not an S3 URI such as"),
        (f"s3://{THEIRS}", "is not an S3 URI such as"),
        (f"s3://{THEIRS}/absent.tar.gz", "does not exist, or may not be read"),
        ("s3://nobodys-bucket/model.tar.gz", "does not exist, or may not be read"),
    ],
)
def test_an_unreadable_artifact_is_named(theirs: str, config: EnvironmentConfig, uri: str, reason: str) -> None:
    with pytest.raises(AdoptionError, match=reason):
        adopt_model(config, uri)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no tar", "is not a complete gzipped tar"),
        (ARTIFACT[:-30], "is not a complete gzipped tar"),
        (
            packed({"model.pth": b"torch"}),
            r"has no \*-symbol.json, \*.params, \*model-shapes.json: it is not an artifact of",
        ),
        (packed({**FILES, "image-classification-0010.params": b""}), r"has no \*.params"),
        (packed({**FILES, "image-classification-symbol.json": b"{"}), "image-classification-symbol.json is not JSON"),
    ],
)
def test_an_artifact_that_is_not_the_algorithms_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "model.tar.gz"
    file.write_bytes(content)
    with pytest.raises(AdoptionError, match=reason):
        check_artifact(file, name="s3://b/model.tar.gz")


def test_an_artifact_that_would_bring_its_own_code_is_not_adopted(tmp_path: Path) -> None:
    file = tmp_path / "model.tar.gz"
    file.write_bytes(packed({"model.npz": b"weights", "code/inference.py": b"import os"}))
    with pytest.raises(AdoptionError, match=r"Others may contain code, which would run"):
        check_artifact(file, name="s3://b/model.tar.gz")


def test_an_adopted_model_is_served_by_the_built_in_container_in_every_configuration(
    theirs: str, transforms: list[Any]
) -> None:
    config = parse_environment("dev", {"training": {"algorithm": "scikit-learn"}})
    adopt_model(config, URI)
    told = aws.ssm().get_parameter(Name=config.model_algorithm_parameter)["Parameter"]["Value"]
    assert told == "image-classification"
    found = current_artifact(config)
    assert found is not None
    assert (found.mismatch, found.trained_by) == ("", told), "and is kept"


def test_an_adopted_model_is_not_replaced_unnoticed(
    theirs: str, config: EnvironmentConfig, transforms: list[Any]
) -> None:
    adopt_model(config, URI)
    with pytest.raises(DataPrepError, match="was adopted, or its data was changed"):
        _check_not_changed(current_artifact(config))


def test_its_manifest_names_its_origin(theirs: str, config: EnvironmentConfig, transforms: list[Any]) -> None:
    job = adopt_model(config, URI).job
    manifest = aws.s3().get_object(Bucket=theirs, Key=document_key(job, "manifest"))["Body"].read()
    assert json.loads(manifest) == {"adopted_from": URI, "classes": ["bicycle", "motorcycle"]}
