"""What one reviewer works at: the queue as it is now, and the next picture of it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from ops import aws
from ops.review.queue import Order, Outcome, Outcomes, place, waiting
from ops.review.records import Records, Review

SINCE = timedelta(days=30)  # as long as the bucket keeps a version that was overwritten
FRESH_SECONDS = 5.0
APART = 20  # pictures; two people who work at the same pace meet again after as many


@dataclass(frozen=True)
class Place:
    """Where a reviewer is in the queue: its order, what it holds, and behind which picture."""

    order: Order = "oldest"
    accepted: bool = False
    after: tuple[str, str] | None = None  # of what was skipped last (queue.place)


@dataclass(frozen=True)
class View:
    """What the page shows: the picture to label, how many wait in all, and how many were passed over."""

    outcome: Outcome | None
    waiting: int
    skipped: int
    latest: Review | None  # what this reviewer said last
    unreadable: Sequence[str]


class Desk:
    """The queue of a bucket for whoever's credentials these are. Safe to share between threads."""

    def __init__(self, bucket: str) -> None:
        self.records = Records(bucket)
        self._outcomes = Outcomes(bucket)
        self._lock = threading.Lock()
        self._found: dict[str, Outcome] = {}
        self._done: dict[str, Review] = {}
        self._read_at = float("-inf")

    @cached_property
    def reviewer(self) -> str:
        """Such as `assumed-role/Reviewer/ann` or `user/ann`. Raises ClientError or BotoCoreError."""
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
            unreadable=[*self._outcomes.unreadable.values(), *self.records.unreadable.values()],
        )

    def further(self, at: Place) -> tuple[str, str] | None:
        """APART pictures further on: for somebody who sees the pictures that another person labels.

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
        """Take back what this reviewer said last; None if there is nothing. Raises AlreadyReviewedError or OpsError."""
        latest = self.records.latest_of(self.reviewer)
        if not latest:
            return None
        review = self.records.undo(latest.outcome.id, reviewer=self.reviewer)
        self._note(review)
        return review

    def reviews(self) -> list[Review]:
        self._refresh()
        return list(self._done.values())

    def _refresh(self) -> None:
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._found = self._outcomes.refresh(datetime.now(UTC) - SINCE)
                self._done = self.records.refresh()
                for review in self._done.values():  # also of pictures whose manifest is older
                    self._found.setdefault(review.outcome.id, review.outcome)
                self._read_at = time.monotonic()

    def _queue(self, at: Place) -> tuple[list[Outcome], list[Outcome]]:
        """The pictures that wait, and those of them that follow a place."""
        reviewed = [identifier for identifier, review in list(self._done.items()) if not review.is_open]
        queue = waiting(self._found.values(), reviewed, order=at.order, accepted=at.accepted)
        return queue, [outcome for outcome in queue if at.after is None or place(outcome, at.order) > at.after]

    def _still_waits(self, outcome: Outcome) -> bool:
        """As it is at this moment: somebody else may have labelled it since the queue was read."""
        review = self.records.read(outcome.id)
        if review:
            self._note(review)
        return review is None or review.is_open

    def _note(self, review: Review) -> None:
        with self._lock:
            self._done = {**self._done, review.outcome.id: review}
