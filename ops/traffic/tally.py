"""The outcomes of a run's images: each is counted once, and those without an outcome have a name."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from lambda_src.shared.text import shortened
from ops.latency import Latencies

Outcome = Literal["accepted", "rejected", "waiting", "failed"]

_OUTCOMES: dict[str, Outcome] = {
    "ACCEPTED": "accepted",
    "REJECTED": "rejected",
    "WAITING": "waiting",
    "FAILED": "failed",
}


class Tally:
    """Counts images by the outcome of their requests. Threads may share it.

    size: how many images a request has, by its number.
    """

    def __init__(self, size: Callable[[int], int]) -> None:
        self.sent = 0
        self.not_sent = 0
        self.accepted = 0
        self.rejected = 0
        self.waiting = 0
        self.failed = 0
        self.seconds = 0.0
        self.errors: Counter[str] = Counter()
        self.latencies = Latencies()
        self.unfinished_requests: dict[str, str] = {}  # by execution or upload: what is known of it
        self._size = size
        self._lock = threading.Lock()
        self._open: set[int] = set()
        self._refused: dict[int, str] = {}

    @property
    def finished(self) -> int:
        return self.accepted + self.rejected + self.waiting + self.failed

    @property
    def unfinished(self) -> int:
        return self.sent - self.finished

    def open_requests(self) -> list[int]:
        """Numbers of the requests that were sent and have no outcome yet, in order."""
        with self._lock:
            return sorted(self._open)

    def send(self, number: int) -> None:
        """A request is about to be sent."""
        with self._lock:
            self._open.add(number)
            self.sent += self._size(number)

    def refuse(self, number: int, error: Exception) -> None:
        """The request could not be sent, according to its response."""
        text = shortened(f"not sent: {type(error).__name__}: {error}", 160)
        with self._lock:
            self._open.discard(number)
            self._refused[number] = text
            self.sent -= self._size(number)
            self.not_sent += self._size(number)
            self.errors[text] += self._size(number)

    def confirm(self, number: int) -> None:
        """The request has an execution. If it was taken for refused, only the response was lost."""
        with self._lock:
            if number not in self._refused:
                return
            self.errors -= Counter({self._refused.pop(number): self._size(number)})
            self._open.add(number)
            self.sent += self._size(number)
            self.not_sent -= self._size(number)

    def end(self, number: int, outcomes: list[dict[str, Any]], *, status: str, seconds: float) -> None:
        """An execution of the request has ended. `outcomes` are those of its manifest.

        Counts once: an upload's event may be delivered twice.
        """
        self.confirm(number)
        size = self._size(number)
        with self._lock:
            if number not in self._open:
                return
            self._open.discard(number)
            self.latencies.add(seconds)
            for outcome in outcomes:
                kind = _OUTCOMES[outcome["outcome"]]
                setattr(self, kind, getattr(self, kind) + 1)
                if kind == "failed":
                    self.errors[str(outcome.get("error"))] += 1
            lost = size - len(outcomes)
            if lost > 0:  # the workflow itself broke before it had an outcome for each
                self.failed += lost
                self.errors[f"execution {status}"] += lost

    def note(self, text: str) -> None:
        """Count an error that is no image's."""
        with self._lock:
            self.errors[text] += 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "waiting": self.waiting,
            "failed": self.failed,
            "not_sent": self.not_sent,
            "unfinished": self.unfinished,
            "unfinished_requests": self.unfinished_requests,
            "seconds": round(self.seconds, 3),
            "latency_seconds": {
                **{f"p{percent}": _rounded(self.latencies.percentile(percent)) for percent in (50, 90, 99)},
                "max": round(self.latencies.longest, 3),
            },
            "errors": dict(self.errors.most_common()),
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
