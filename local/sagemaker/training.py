"""A training job: reads the four channels, trains the stand-in model, writes the artifact.

The request, the channels and the output are those of the built-in Image Classification algorithm
(https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html); the model inside is not.
"""

import fcntl
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from local.sagemaker import container, storage
from local.sagemaker.errors import JobFailedError
from model_src import model
from model_src.images import decode_image

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DOWNLOADS = 8


@dataclass(frozen=True)
class Channel:
    """The images that a `.lst` file names, with their labels."""

    uris: list[str]
    labels: list[int]
    digest: str


@dataclass(frozen=True)
class TrainingResult:
    """What a finished job leaves behind."""

    artifact_uri: str
    metrics: dict[str, float]


def run(job: dict[str, Any], s3: "S3Client", *, cache: Path) -> TrainingResult:
    """Run the job of a CreateTrainingJob request; raises JobFailedError.

    A model that was trained before, by the same code on the same data, is taken from `cache`, or is waited for.
    """
    sources = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in job["InputDataConfig"]
    }
    missing = {"train", "train_lst", "validation", "validation_lst"} - set(sources)
    if missing:
        raise JobFailedError(f"ClientError: missing channel {', '.join(sorted(missing))}")
    train = read_channel(s3, sources["train"], sources["train_lst"])
    validation = read_channel(s3, sources["validation"], sources["validation_lst"])
    num_classes = check_hyperparameters(job.get("HyperParameters", {}), train)

    key = f"{train.digest}\0{num_classes}\0".encode() + Path(model.__file__).read_bytes()
    cached = cache / f"{hashlib.sha256(key).hexdigest()}.npz"
    cache.mkdir(parents=True, exist_ok=True)
    with cached.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if cached.exists():
            storage.read(s3, train.uris[0])  # the role needs it also where this stand-in could do without
            trained = model.Model.load(cached)
        else:
            trained = model.Model.train(_images(s3, train), np.array(train.labels), num_classes=num_classes)
            trained.save(cached)
    predicted = trained.predict(_images(s3, validation)).argmax(axis=1)
    artifact_uri = f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job['TrainingJobName']}/output/model.tar.gz"
    storage.write(s3, artifact_uri, container.pack_artifact(trained))
    return TrainingResult(artifact_uri, {"validation:accuracy": float(np.mean(predicted == validation.labels))})


def read_channel(s3: "S3Client", images_uri: str, lst_uri: str) -> Channel:
    """List a channel's images; raises JobFailedError for a line that names none."""
    etags = storage.etags(s3, images_uri)
    lines = [
        line
        for uri in storage.etags(s3, lst_uri)
        if uri.endswith(".lst")
        for line in storage.read(s3, uri).decode().splitlines()
    ]
    uris, labels, digest = [], [], hashlib.sha256()
    for line in lines:
        _, label, path = line.split("\t")
        uri = f"{images_uri.rstrip('/')}/{path}"
        if uri not in etags:
            raise JobFailedError(f"ClientError: {lst_uri} names an image that is not there: {uri}")
        digest.update(f"{label}\0{path}\0{etags[uri]}\n".encode())  # not the URI: each run has a bucket of its own
        uris.append(uri)
        labels.append(int(float(label)))
    if not uris:
        raise JobFailedError(f"ClientError: no .lst file below {lst_uri} names an image")
    return Channel(uris, labels, digest.hexdigest())


def check_hyperparameters(hyperparameters: dict[str, str], train: Channel) -> int:
    """The number of classes; raises JobFailedError where the algorithm would refuse."""
    try:
        num_classes = int(hyperparameters["num_classes"])
        num_training_samples = int(hyperparameters["num_training_samples"])
        mini_batch_size = int(hyperparameters.get("mini_batch_size", "32"))
    except KeyError as error:
        raise JobFailedError(f"ClientError: hyperparameter {error} is required") from None
    except ValueError as error:
        raise JobFailedError(f"ClientError: hyperparameter: {error}") from None
    if num_training_samples != len(train.uris):
        raise JobFailedError(
            f"ClientError: num_training_samples is {num_training_samples}, the channel has {len(train.uris)} images"
        )
    if mini_batch_size > num_training_samples:
        raise JobFailedError(
            f"ClientError: mini_batch_size {mini_batch_size} is above num_training_samples {num_training_samples}"
        )
    if set(train.labels) != set(range(num_classes)):
        raise JobFailedError(f"ClientError: num_classes is {num_classes}, the labels are {sorted(set(train.labels))}")
    return num_classes


def _images(s3: "S3Client", channel: Channel) -> NDArray[np.uint8]:
    def image(uri: str) -> NDArray[np.uint8]:
        try:
            return decode_image(storage.read(s3, uri))
        except ValueError as error:
            raise JobFailedError(f"ClientError: {uri} is {error}") from error

    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        return np.stack(list(pool.map(image, channel.uris)))
