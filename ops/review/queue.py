"""The pictures that wait for a label: rejected ones and, on request, the accepted ones with the lowest confidence.

They come from the manifests, which have the outcome of each image of an execution; the manifest of a bulk run names
files of outcomes. A manifest never changes, so each is read once.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from lambda_src.shared.errors import InvalidInputError
from lambda_src.shared.item import ImageRef
from lambda_src.shared.json_reader import DocumentError, parse_json, read_json
from ops import aws
from stacks.shared import prefixes

Order = Literal["oldest", "least-sure"]
MOST_ACCEPTED = 500  # of one execution, those with the lowest confidence


@dataclass(frozen=True)
class Outcome:
    """The workflow's outcome for one version of a picture."""

    image: ImageRef
    name: str  # ACCEPTED or REJECTED
    label: str
    confidence: float
    at: datetime  # when the execution started

    @property
    def id(self) -> str:
        return self.image.inference_id


class Outcomes:
    """The latest outcome of each picture of the executions whose manifests were written since a time."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._read: dict[str, tuple[Outcome, ...]] = {}  # by manifest
        self.unreadable: dict[str, str] = {}  # reasons by key

    def refresh(self, since: datetime) -> dict[str, Outcome]:
        """By inference id; raises ClientError or BotoCoreError."""
        keys = [key for key, modified in self._manifests() if modified >= since]
        new = [key for key in keys if key not in self._read]
        with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
            for key, outcomes in zip(new, pool.map(self._outcomes, new), strict=True):
                self._read[key] = outcomes
        found: dict[str, Outcome] = {}
        for outcome in sorted((o for key in keys for o in self._read[key]), key=lambda o: o.at):
            found[outcome.id] = outcome
        return found

    def _manifests(self) -> Iterator[tuple[str, datetime]]:
        """`manifests/EXECUTION.json`; other files of bulk runs are in folders below."""
        pages = aws.s3().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=prefixes.MANIFESTS, Delimiter="/"):
            for entry in page.get("Contents", []):
                if entry["Key"].endswith(".json"):
                    yield entry["Key"], entry["LastModified"]

    def _outcomes(self, key: str) -> tuple[Outcome, ...]:
        try:
            manifest = read_json(self._body(key), name=key)
            started = datetime.fromisoformat(manifest["started_at"])
            listed = manifest["outcomes"]
            items = listed if isinstance(listed, list) else self._of_bulk_run(listed)
            return tuple(worth_a_look(_parsed(items, started)))
        except (DocumentError, InvalidInputError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.unreadable[key] = f"{key}: {error}"
            return ()

    def _of_bulk_run(self, files: Mapping[str, list[str]]) -> Iterator[Any]:
        for uri in files["SUCCEEDED"]:
            key = uri.removeprefix(f"s3://{self._bucket}/")
            yield from (parse_json(line) for line in self._body(key).iter_lines() if line)

    def _body(self, key: str) -> Any:
        return aws.s3().get_object(Bucket=self._bucket, Key=key)["Body"]


def _parsed(items: Iterable[Any], at: datetime) -> Iterator[Outcome]:
    for item in items:
        if item["outcome"] in {"ACCEPTED", "REJECTED"}:
            image = ImageRef.of(item)
            yield Outcome(image, item["outcome"], str(item["label"]), float(item["confidence"]), at)


def worth_a_look(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """All rejected pictures, and the accepted ones with the lowest confidence."""
    rejected: list[Outcome] = []

    def accepted() -> Iterator[Outcome]:
        for outcome in outcomes:
            if outcome.name == "REJECTED":
                rejected.append(outcome)
            else:
                yield outcome

    return [*heapq.nsmallest(MOST_ACCEPTED, accepted(), key=lambda outcome: outcome.confidence), *rejected]


def waiting(
    outcomes: Iterable[Outcome], done: Iterable[str], *, order: Order = "oldest", accepted: bool = False
) -> list[Outcome]:
    """The pictures without a review, in display order. done: the ids of reviewed pictures."""
    reviewed = set(done)
    wanted = [o for o in outcomes if o.id not in reviewed and (accepted or o.name == "REJECTED")]
    return sorted(wanted, key=lambda outcome: place(outcome, order))


def place(outcome: Outcome, order: Order) -> tuple[str, str]:
    """The queue's sort key: text that is unique to the picture, and fits into an address."""
    value = f"{outcome.confidence:.6f}" if order == "least-sure" else outcome.at.isoformat()
    return value, outcome.id
