"""Small archives in CIFAR-100's format, data set folders, and an AWS account in this process.

The account is moto's, whose requests botocore checks as it does for AWS.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moto import mock_aws
from PIL import Image

from data_prep import aws
from data_prep.cifar import write_archive
from data_prep.dataset import (
    FORMAT_VERSION,
    IMAGES,
    LISTS,
    ArchiveInfo,
    Manifest,
    Split,
    write_list,
)
from lambda_src.retraining.lst_file import DataDigest, ListLine
from lambda_src.shared.baseline import MIN_BASELINE
from local.sagemaker import storage, training
from local.sagemaker.control_plane import ControlPlane
from stacks.config import EnvironmentConfig, parse_environment
from tests.unit.stand_in import client_of
from tests.unit.stored import ACCOUNT, create_bucket, place, place_folder

CLASS_NAMES = ("apple", "bicycle", "bee", "motorcycle")
CLASSES = ("bicycle", "motorcycle")

RawSplit = tuple[list[str], list[int], Any]


def noise(count: int, seed: int) -> Any:
    """`count` different images, of shape (count, 32, 32, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def split_of(count: int, seed: int) -> RawSplit:
    labels = [index % len(CLASS_NAMES) for index in range(count)]
    return [f"image_{seed}_{index}.png" for index in range(count)], labels, noise(count, seed)


def archive_of(path: Path, *, train: RawSplit | None = None, test: RawSplit | None = None) -> Path:
    write_archive(
        path, class_names=CLASS_NAMES, splits={"train": train or split_of(20, 1), "test": test or split_of(8, 2)}
    )
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """20 training and 8 test images of four classes."""
    return archive_of(tmp_path / "archive.tar.gz")


@pytest.fixture
def tar_of(tmp_path: Path) -> Callable[..., Path]:
    """Makes a gzipped tar of any members."""

    def make(*members: tuple[tarfile.TarInfo, bytes]) -> Path:
        path = tmp_path / "made.tar.gz"
        with tarfile.open(path, "w:gz", compresslevel=1) as tar:
            for info, data in members:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return make


BUCKET = "scones-dev-data"
CLASSES = ("bicycle", "motorcycle")
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/sagemaker"


@pytest.fixture
def config() -> EnvironmentConfig:
    return parse_environment("dev", {})


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An account where the environment's data stack is deployed: its bucket."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        create_bucket(BUCKET)  # the clients outlive the test, the account does not
        stack = aws.DataStack(bucket=BUCKET, sagemaker_role_arn=ROLE_ARN, region="us-east-1")
        monkeypatch.setattr(aws, "data_stack", lambda _: stack)
        yield BUCKET


@pytest.fixture
def plane(cloud: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ControlPlane:
    """SageMaker as the stand-in is it, whose training jobs have ended with an artifact when they have started."""

    def train(job: dict[str, Any], *_: object, **__: object) -> training.TrainingResult:
        key = f"models/{job['TrainingJobName']}/output/model.tar.gz"
        place(cloud, key, b"model")
        return training.TrainingResult(f"s3://{cloud}/{key}", {"validation:accuracy": 0.9})

    monkeypatch.setattr(ControlPlane, "_in_background", staticmethod(lambda function, *given: function(*given)))
    monkeypatch.setattr(training, "run", train)
    monkeypatch.setattr(storage, "as_role", lambda _: aws.s3())
    plane = ControlPlane(cache=tmp_path)
    client = client_of(plane)
    monkeypatch.setattr(aws, "sagemaker", lambda: client)
    return plane


def write_dataset(folder: Path, train: int, test: int, image: Callable[[Path, int], None]) -> Path:
    """A data set with that many images; `image` writes the one of a number."""
    digest = DataDigest()
    splits = {}
    for split, count in (("train", train), ("test", test)):
        (folder / IMAGES[split]).mkdir(parents=True)
        lines = [ListLine(index, index % 2, f"{split}_{index:04}.png") for index in range(count)]
        for line in lines:
            file = folder / IMAGES[split] / line.path
            image(file, line.index + (10_000 if split == "test" else 0))
            digest.add(split, line, sha256(file.read_bytes()).hexdigest())
        write_list(folder / LISTS[split], lines)
        splits[split] = Split(
            counts={name: len(range(label, count, 2)) for label, name in enumerate(CLASSES)}, total=count, rejected=()
        )
    Manifest(
        format_version=FORMAT_VERSION,
        classes=CLASSES,
        archive=ArchiveInfo(sha256="0" * 64, source="made by a test", is_synthetic=True),
        splits=splits,
        data_digest=digest.hexdigest(),
        parameters={"image_size": 32},
    ).save(folder)
    return folder


def picture(file: Path, number: int) -> None:
    """A PNG that is no other number's."""
    image = Image.new("RGB", (32, 32), (number % 251, number // 251, 77))
    image.putpixel((number % 32, 3), (255, 255, 255))
    image.save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid data set of 32 and 8 images."""
    return write_dataset(tmp_path / "dataset", 32, 8, picture)


@pytest.fixture
def uploaded(folder: Path, cloud: str, plane: ControlPlane) -> Path:
    """The data set, which the bucket holds as well; SageMaker is the stand-in."""
    place_folder(cloud, folder)
    return folder


def list_validation_images(bucket: str, count: int = MIN_BASELINE, *, labels: tuple[int, int] = (0, 1)) -> None:
    """The list of `image_0.png` and so on, whose labels take turns."""
    lines = [f"{number}\t{labels[number % 2]}\timage_{number}.png\n" for number in range(count)]
    place(bucket, "test_lst/test.lst", "".join(lines))


@contextmanager
def batch_transform(bucket: str, bicycle: Callable[[int], float]) -> Iterator[list[dict[str, Any]]]:
    """Predicts as many images of each job as a baseline needs, as it starts; the requests that started one.

    bicycle: the probability of the first class, by the image's number.
    """
    started: list[dict[str, Any]] = []

    def predict(params: dict[str, Any], **_: object) -> None:
        request = json.loads(params["body"])
        started.append(request)
        _, _, prefix = request["TransformOutput"]["S3OutputPath"].removeprefix("s3://").partition("/")
        for number in range(MIN_BASELINE):
            body = json.dumps({"prediction": [bicycle(number), 1 - bicycle(number)]})
            place(bucket, f"{prefix}/image_{number}.png.out", body)

    events = aws.sagemaker().meta.events
    events.register("before-call.sagemaker.CreateTransformJob", predict)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("data_prep.baseline.POLL_SECONDS", 0)
        yield started
    events.unregister("before-call.sagemaker.CreateTransformJob", predict)
