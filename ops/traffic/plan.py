"""The requests of a run, which depend only on the seed, and the names that identify them."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal

from ops import aws
from ops.aws import Deployment
from ops.errors import OpsError
from ops.pictures import Drift
from stacks.shared import prefixes

Via = Literal["executions", "uploads"]


@dataclass(frozen=True)
class Plan:
    """The requests of a run. `rate` is in images a second; `bad` is the share of inputs that cannot succeed."""

    classes: tuple[str, ...]
    images: int
    rate: float
    seed: int
    via: Via
    batch: int = 1  # images of one execution
    bad: float = 0.0
    drift: Drift | None = None
    drift_from: int = 0  # number of the first image that drifts
    label: bool = False

    @property
    def requests(self) -> int:
        return -(-self.images // self.batch)

    def size(self, number: int) -> int:
        """How many images a request has."""
        return min(self.batch, self.images - number * self.batch)


def _new_name() -> str:
    return f"traffic-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


@dataclass(frozen=True)
class Run:
    """A plan that runs in an environment. Its unique name marks its executions and uploads."""

    plan: Plan
    deployment: Deployment
    name: str = field(default_factory=_new_name)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def request_name(self, number: int) -> str:
        """The identifier of a request: an execution's name, or an upload's key."""
        if self.plan.via == "uploads":
            return f"{prefixes.INCOMING}{self.name}/{number}.png"
        return f"{self.name}-{number}"

    def number_of(self, request_name: str) -> int | None:
        """The request with this name; None if it is not of this run."""
        return self._numbers.get(request_name)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {self.request_name(number): number for number in range(self.plan.requests)}


def test_images(bucket: str) -> list[str]:
    """Keys of the bucket's test images, in order; raises OpsError if there are none."""
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefixes.TEST)
    keys = [
        entry["Key"]
        for page in pages
        for entry in page.get("Contents", [])
        if PurePosixPath(entry["Key"]).suffix.lower() in {".png", ".jpg", ".jpeg"}
    ]
    if not keys:
        raise OpsError(f"s3://{bucket}/{prefixes.TEST} has no images: run `python -m data_prep upload` first")
    return keys


def true_classes(bucket: str, classes: tuple[str, ...]) -> dict[str, str]:
    """The class of each test image, by key; raises OpsError."""
    key = f"{prefixes.TEST_LST}test.lst"
    try:
        listing = aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    except aws.s3().exceptions.NoSuchKey:
        raise OpsError(f"s3://{bucket}/{key} is not there, so no true class is known: send without --label") from None
    lines = (line.split("\t") for line in listing.splitlines())
    return {f"{prefixes.TEST}{path}": classes[int(float(label))] for _, label, path in lines}


def choose(keys: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """`count` random keys, with repetitions only after all were used."""
    chosen: list[str] = []
    while len(chosen) < count:
        chosen += rng.sample(keys, min(len(keys), count - len(chosen)))
    return chosen


def item(bucket: str, key: str) -> dict[str, str]:
    """A workflow input in the original's form."""
    return {"image_data": "", "s3_bucket": bucket, "s3_key": key}
