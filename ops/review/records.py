"""Stores reviews: one object for each version of each picture, `ground-truth/reviews/DIGEST.jsonl`.

The object is a line of ground truth (lambda_src/monitoring/ground_truth.py) with who said so, when, and what the model
thought, so a single write makes a label known everywhere. Every write has a condition: a new review is stored only if
there is none, and a changed one only if it is still the one that was read. So of two people who label the same picture
one is told what the other said, and whatever is interrupted is either stored or not.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

Undoing is a write too: nobody needs the permission to delete.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from botocore.exceptions import ClientError

from lambda_src.monitoring.ground_truth import REVIEWS
from lambda_src.shared.errors import InvalidInputError
from lambda_src.shared.item import ImageRef
from lambda_src.shared.json_reader import DocumentError, read_json
from ops import aws
from ops.errors import OpsError
from ops.review.queue import Outcome

Decision = Literal["labelled", "neither", "undone"]
# S3's errors when the condition of a write does not hold, or another write was faster
_CONDITION_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}


@dataclass(frozen=True)
class Review:
    """One person's review of one version of a picture. label: a class, if the decision is `labelled`."""

    outcome: Outcome
    decision: Decision
    label: str | None
    reviewer: str
    reviewed_at: datetime

    @property
    def key(self) -> str:
        return key_of(self.outcome.id)

    @property
    def is_open(self) -> bool:
        """Whether the picture still waits for a label."""
        return self.decision == "undone"

    def as_line(self) -> bytes:
        image = self.outcome.image
        record = {
            "s3_bucket": image.bucket,
            "s3_key": image.key,
            "s3_version_id": image.version_id,
            "label": self.label,
            "decision": self.decision,
            "reviewer": self.reviewer,
            "reviewed_at": self.reviewed_at.isoformat(),
            "predicted": self.outcome.label,
            "confidence": self.outcome.confidence,
            "outcome": self.outcome.name,
            "classified_at": self.outcome.at.isoformat(),
        }
        return f"{json.dumps(record, ensure_ascii=False)}\n".encode()

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Review":
        """Raises ValueError, KeyError, TypeError or InvalidInputError."""
        decision, label = record["decision"], record["label"]
        if decision not in {"labelled", "neither", "undone"} or (decision == "labelled") != isinstance(label, str):
            raise ValueError(f"{decision!r} with the label {label!r}")
        outcome = Outcome(
            image=ImageRef.of(record),
            name=record["outcome"],
            label=record["predicted"],
            confidence=float(record["confidence"]),
            at=datetime.fromisoformat(record["classified_at"]),
        )
        return cls(outcome, decision, label, str(record["reviewer"]), datetime.fromisoformat(record["reviewed_at"]))


class AlreadyReviewedError(OpsError):
    """When somebody else has meanwhile labelled the picture or changed its review."""

    def __init__(self, review: Review) -> None:
        said = {"labelled": f"labelled it {review.label}", "neither": "said neither", "undone": "undid its review"}
        super().__init__(
            f"{review.reviewer} {said[review.decision]} at {review.reviewed_at:%Y-%m-%d %H:%M:%S} UTC meanwhile: "
            f"nothing was changed ({review.outcome.image.uri})"
        )
        self.review = review


def key_of(identifier: str) -> str:
    """Key of the review of the picture with this inference id."""
    return f"{REVIEWS}{identifier}.jsonl"


@dataclass(frozen=True)
class _Stored:
    etag: str
    review: Review


class Records:
    """The reviews of a bucket; reads each version once. Thread-safe."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._stored: dict[str, _Stored] = {}
        self.unreadable: dict[str, str] = {}  # reasons by key

    def refresh(self) -> dict[str, Review]:
        """Every review by the picture's inference id; raises ClientError or BotoCoreError."""
        listed = dict(self._listing())
        stale = [key for key, etag in listed.items() if key not in self._stored or self._stored[key].etag != etag]
        with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
            list(pool.map(self._read, stale))
        return {stored.review.outcome.id: stored.review for key, stored in list(self._stored.items()) if key in listed}

    def read(self, identifier: str) -> Review | None:
        """The current review."""
        stored = self._read(key_of(identifier))
        return stored.review if stored else None

    def label(self, outcome: Outcome, label: str | None, *, reviewer: str) -> Review:
        """Store that the picture shows `label`, or none of the classes.

        Raises AlreadyReviewedError, unless this reviewer has said the very same: a button that was pressed twice.
        """
        stored = self._read(key_of(outcome.id))
        if stored and not stored.review.is_open:
            if (stored.review.reviewer, stored.review.decision, stored.review.label) == (
                reviewer,
                "labelled" if label else "neither",
                label,
            ):
                return stored.review
            raise AlreadyReviewedError(stored.review)
        review = Review(outcome, "labelled" if label else "neither", label, reviewer, datetime.now(UTC))
        return self._write(review, stored)

    def undo(self, identifier: str, *, reviewer: str) -> Review:
        """Undo one's own review, so that the picture waits again; raises AlreadyReviewedError or OpsError."""
        stored = self._read(key_of(identifier))
        if not stored or stored.review.is_open:
            raise OpsError("there is no review to undo: the picture waits for its label")
        if stored.review.reviewer != reviewer:
            raise AlreadyReviewedError(stored.review)
        undone = replace(stored.review, decision="undone", label=None, reviewed_at=datetime.now(UTC))
        return self._write(undone, stored)

    def latest_of(self, reviewer: str) -> Review | None:
        """This person's latest review that is not undone, as of the last refresh."""
        own = [s.review for s in list(self._stored.values()) if s.review.reviewer == reviewer and not s.review.is_open]
        return max(own, key=lambda review: review.reviewed_at, default=None)

    def _write(self, review: Review, before: _Stored | None) -> Review:
        condition: dict[str, Any] = {"IfMatch": before.etag} if before else {"IfNoneMatch": "*"}
        try:
            answer = aws.s3().put_object(
                Bucket=self._bucket,
                Key=review.key,
                Body=review.as_line(),
                ContentType="application/x-ndjson",
                **condition,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in _CONDITION_FAILED:
                raise
            now = self._read(review.key)
            if now and now.review == review:  # stored by an attempt whose response was lost
                return review
            if not now:
                raise
            raise AlreadyReviewedError(now.review) from None
        self._stored[review.key] = _Stored(answer["ETag"], review)
        return review

    def _read(self, key: str) -> _Stored | None:
        """The current review, or None if there is none or it cannot be parsed."""
        try:
            answer = aws.s3().get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            self._stored.pop(key, None)
            return None
        try:
            review = Review.from_record(read_json(answer["Body"], name=key))
            if review.key != key:
                raise ValueError(f"is the review of another picture: {review.key}")
        except (DocumentError, InvalidInputError, ValueError, KeyError, TypeError) as error:
            self._stored.pop(key, None)
            self.unreadable[key] = f"{key}: {error}"
            return None
        self.unreadable.pop(key, None)
        stored = _Stored(answer["ETag"], review)
        self._stored[key] = stored
        return stored

    def _listing(self) -> Iterator[tuple[str, str]]:
        for page in aws.s3().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=REVIEWS):
            for entry in page.get("Contents", []):
                if entry["Key"].endswith(".jsonl"):
                    yield entry["Key"], entry["ETag"]
