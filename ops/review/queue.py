"""The pictures that wait for a label: what was rejected, and on request what was accepted with least confidence.

They are read from the manifests, in which each execution leaves the outcome of each of its images, of a bulk run in
files that its manifest names. A manifest never changes, so each is read once.
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
MOST_ACCEPTED = 500  # of one execution, its least confident: nobody looks at a million


@dataclass(frozen=True)
class Outcome:
    """What the workflow made of one version of a picture."""

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
        """`manifests/EXECUTION.json`; what a bulk run writes lies in a folder below."""
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
    """All that were rejected, and the least confident of those that were accepted."""
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
    """The pictures without a review in the order in which to show them. done: the ids of those with one."""
    reviewed = set(done)
    wanted = [o for o in outcomes if o.id not in reviewed and (accepted or o.name == "REJECTED")]
    return sorted(wanted, key=lambda outcome: place(outcome, order))


def place(outcome: Outcome, order: Order) -> tuple[str, str]:
    """What the queue is sorted by: text that a page's address can hold, and that no other picture has."""
    value = f"{outcome.confidence:.6f}" if order == "least-sure" else outcome.at.isoformat()
    return value, outcome.id
