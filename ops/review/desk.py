"""The work of one reviewer: the current queue and its next picture."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from ops import aws
from ops.review.queue import Order, Outcome, Outcomes, place, waiting
from ops.review.records import Records, Review

SINCE = timedelta(days=30)  # as long as the bucket keeps overwritten versions
FRESH_SECONDS = 5.0
APART = 20  # pictures between two reviewers after a conflict


@dataclass(frozen=True)
class Place:
    """A reviewer's place in the queue: the order, the selection, and the last picture."""

    order: Order = "oldest"
    accepted: bool = False
    after: tuple[str, str] | None = None  # of the picture that was skipped last (queue.place)


@dataclass(frozen=True)
class View:
    """The picture to label, the number of all waiting pictures, and of those that were skipped."""

    outcome: Outcome | None
    waiting: int
    skipped: int
    latest: Review | None  # this reviewer's latest review
    reviews: Sequence[Review]  # everybody's
    unreadable: Sequence[str]


class Desk:
    """The queue of a bucket, for the owner of the credentials. Thread-safe."""

    def __init__(self, bucket: str) -> None:
        self.records = Records(bucket)
        self._outcomes = Outcomes(bucket)
        self._lock = threading.Lock()
        self._found: dict[str, Outcome] = {}
        self._done: dict[str, Review] = {}
        self._read_at = float("-inf")

    @cached_property
    def reviewer(self) -> str:
        """The caller, such as `assumed-role/Reviewer/ann` or `user/ann`. Raises ClientError or BotoCoreError."""
        return str(aws.sts().get_caller_identity()["Arn"].rpartition(":")[2])

    def view(self, at: Place, *, wanted: str = "") -> View:
        """The next picture, or the wanted one if it waits. Raises ClientError or BotoCoreError."""
        self._refresh()
        queue, ahead = self._queue(at)
        chosen = [outcome for outcome in self._found.values() if outcome.id == wanted]
        return View(
            outcome=next(filter(self._still_waits, [*chosen, *ahead]), None),
            waiting=len(queue),
            skipped=len(queue) - len(ahead),
            latest=self.records.latest_of(self.reviewer),
            reviews=list(self._done.values()),
            unreadable=[*self._outcomes.unreadable.values(), *self.records.unreadable.values()],
        )

    def further(self, at: Place) -> tuple[str, str] | None:
        """The place APART pictures further on, for a reviewer who sees the same pictures as another one.

        None if fewer are left.
        """
        _, ahead = self._queue(at)
        return place(ahead[APART - 1], at.order) if len(ahead) > APART else None

    def outcome(self, identifier: str) -> Outcome | None:
        self._refresh()
        return self._found.get(identifier)

    def label(self, outcome: Outcome, label: str | None) -> Review:
        """Raises AlreadyReviewedError."""
        review = self.records.label(outcome, label, reviewer=self.reviewer)
        self._note(review)
        return review

    def undo(self) -> Review | None:
        """Undo this reviewer's latest review; None if there is none. Raises AlreadyReviewedError or OpsError."""
        latest = self.records.latest_of(self.reviewer)
        if not latest:
            return None
        review = self.records.undo(latest.outcome.id, reviewer=self.reviewer)
        self._note(review)
        return review

    def _refresh(self) -> None:
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._found = self._outcomes.refresh(datetime.now(UTC) - SINCE)
                self._done = self.records.refresh()
                for review in self._done.values():  # including those of pictures with older manifests
                    self._found.setdefault(review.outcome.id, review.outcome)
                self._read_at = time.monotonic()

    def _queue(self, at: Place) -> tuple[list[Outcome], list[Outcome]]:
        """The waiting pictures, and those that follow a place."""
        reviewed = [identifier for identifier, review in list(self._done.items()) if not review.is_open]
        queue = waiting(self._found.values(), reviewed, order=at.order, accepted=at.accepted)
        return queue, [outcome for outcome in queue if at.after is None or place(outcome, at.order) > at.after]

    def _still_waits(self, outcome: Outcome) -> bool:
        """Whether the picture waits now. Somebody else may have labelled it since the queue was read."""
        review = self.records.read(outcome.id)
        if review:
            self._note(review)
        return review is None or review.is_open

    def _note(self, review: Review) -> None:
        with self._lock:
            self._done = {**self._done, review.outcome.id: review}
