"""A bucket with a data set and pictures that the workflow has classified, in an account in this process."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moto import mock_aws
from PIL import Image

from lambda_src.shared.item import ImageRef
from ops import aws
from ops.review.queue import Outcome
from ops.review.records import Records, Review
from stacks.config import EnvironmentConfig, parse_environment
from tests.unit.data_prep.conftest import write_dataset
from tests.unit.stored import create_bucket, place, place_folder

BUCKET = "scones-dev-data"
AT = datetime(2026, 11, 25, 8, tzinfo=UTC)


def pixels(seed: int, size: int = 32) -> Any:
    """A picture that is like that of no other seed: 8x8 patches of noise."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(patches).resize((size, size), Image.Resampling.NEAREST))


def png(values: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def drawn(seed: int) -> bytes:
    """The upload of a seed's picture."""
    return png(pixels(seed, 64))


class Account:
    """What a test does to the bucket as the workflow, and sees in it."""

    bucket = BUCKET

    def __init__(self) -> None:
        self.running: list[Any] = []
        self.records = Records(BUCKET)

    def picture(self, name: str, content: bytes | int = 1) -> ImageRef:
        """An upload below incoming/: the bytes, or the picture of a seed."""
        body = content if isinstance(content, bytes) else drawn(content)
        key = f"incoming/{name}"
        return ImageRef(BUCKET, key, place(BUCKET, key, body))

    def reviewed(self, name: str, content: bytes | int, label: str | None, *, reviewer: str = "ann") -> Outcome:
        outcome = outcome_of(self.picture(name, content))
        review = Review(outcome, "labelled" if label else "neither", label, reviewer, AT)
        self.put(review.key, review.as_line())
        return outcome

    def manifest_of(self, execution: str, outcomes: Any, *, at: datetime = AT) -> None:
        """What an execution leaves."""
        body = {"execution": execution, "started_at": at.isoformat(), "counts": {}, "outcomes": outcomes}
        self.put(f"manifests/{execution}.json", json.dumps(body).encode())

    def put(self, key: str, body: bytes) -> None:
        place(BUCKET, key, body)

    def get(self, key: str) -> bytes:
        return aws.s3().get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        return [e["Key"] for e in aws.s3().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]

    def list_executions(self, **_: Any) -> dict[str, Any]:
        return {"executions": self.running}


def outcome_of(image: ImageRef, *, confidence: float = 0.6, name: str = "REJECTED", at: datetime = AT) -> Outcome:
    return Outcome(image, name, "bicycle", confidence, at)


def item(outcome: Outcome) -> dict[str, Any]:
    """The outcome as the workflow writes it."""
    image = outcome.image
    return {
        "outcome": outcome.name,
        "s3_bucket": image.bucket,
        "s3_key": image.key,
        "s3_version_id": image.version_id,
        "label": outcome.label,
        "confidence": outcome.confidence,
    }


@pytest.fixture
def config() -> EnvironmentConfig:
    return parse_environment("dev", {})


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        create_bucket(BUCKET, is_versioned=True)
        found = Account()
        monkeypatch.setattr(aws, "bucket", lambda _: BUCKET)
        monkeypatch.setattr(aws, "retraining_machine", lambda _: "arn:retraining")
        monkeypatch.setattr(aws, "stepfunctions", lambda: found)
        yield found


def save(file: Path, number: int) -> None:
    Image.fromarray(pixels(number)).save(file)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 2 training images, which have the seeds from 0, and 2 validation images, from 10,000."""
    return write_dataset(tmp_path_factory.mktemp("review") / "dataset", 2, 2, save)


@pytest.fixture
def data_set(account: Account, folder: Path) -> Path:
    """The folder whose data set the bucket holds."""
    place_folder(BUCKET, folder)
    return folder
