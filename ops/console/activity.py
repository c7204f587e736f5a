"""What the classification workflow did lately: its executions, and the outcome of every image.

As Step Functions' listing and the manifests have it, which no metric does: an image has one outcome, however often a
step was tried. A manifest never changes, so that each is read once.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lambda_src.shared.json_reader import DocumentError, read_json
from ops import aws
from stacks.shared import prefixes

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef

PERIODS = {"last hour": timedelta(hours=1), "last day": timedelta(days=1)}
MAX_EXECUTIONS = 1000  # one page of the listing
MAX_FAILURES = 20
OUTCOMES = ("ACCEPTED", "REJECTED", "WAITING", "FAILED")
_READERS = 16


@dataclass(frozen=True)
class Image:
    """One image's outcome, as the manifest has it; what it does not have is empty."""

    key: str
    version_id: str
    outcome: str
    label: str
    confidence: float | None
    error: str
    cause: str

    @classmethod
    def of(cls, found: Any) -> "Image":
        """Of a member of a manifest's `outcomes`, whatever it is: a failed item may have been anything."""
        values: Mapping[str, Any] = found if isinstance(found, dict) else {}
        confidence = values.get("confidence")
        return cls(
            key=_text(values.get("s3_key")),
            version_id=_text(values.get("s3_version_id")),
            outcome=_text(values.get("outcome")),
            label=_text(values.get("label")),
            confidence=float(confidence) if isinstance(confidence, int | float) else None,
            error=_text(values.get("error")),
            cause=_text(values.get("cause")),
        )

    @property
    def reason(self) -> str:
        """Why it was not accepted."""
        return f"{self.error}: {self.cause}" if self.cause else self.error


@dataclass(frozen=True)
class Execution:
    """One execution; without images until it ends, and if it left no manifest."""

    arn: str
    name: str
    status: str
    started: datetime
    stopped: datetime | None
    images: tuple[Image, ...] = ()

    @property
    def time(self) -> datetime:
        """What the listing sorts it by."""
        return self.stopped or self.started

    @property
    def outcome(self) -> str:
        """Its status; REJECTED where only low confidence made it fail."""
        outcomes = {image.outcome for image in self.images}
        return "REJECTED" if self.status == "FAILED" and outcomes and "FAILED" not in outcomes else self.status


@dataclass(frozen=True)
class Period:
    """Counts of what ended within it, or runs."""

    name: str
    executions: Counter[str]
    images: Counter[str]


@dataclass(frozen=True)
class Failure:
    """An image that was not accepted, or an execution that failed without naming one."""

    execution: Execution
    image: Image | None


@dataclass(frozen=True)
class Recent:
    """The last day, newest first."""

    executions: tuple[Execution, ...]
    periods: tuple[Period, ...]
    is_complete: bool  # else there were more than MAX_EXECUTIONS

    @property
    def failures(self) -> list[Failure]:
        """The newest MAX_FAILURES."""
        found: list[Failure] = []
        for execution in self.executions:
            images = [Failure(execution, image) for image in execution.images if image.outcome != "ACCEPTED"]
            is_silent = not images and execution.status not in {"SUCCEEDED", "RUNNING", "PENDING_REDRIVE"}
            found += [Failure(execution, None)] if is_silent else images
            if len(found) >= MAX_FAILURES:
                break
        return found[:MAX_FAILURES]


class Activity:
    """Reads the last day of one state machine; keeps the manifests that it has read."""

    def __init__(self, *, state_machine_arn: str, bucket: str) -> None:
        self._state_machine_arn = state_machine_arn
        self._bucket = bucket
        self._images: dict[str, tuple[Image, ...]] = {}
        self._lock = threading.Lock()  # several pages may ask at once: the second finds what the first has read

    def recent(self, *, now: datetime | None = None) -> Recent:
        """Raises what boto3 raises."""
        now = now or datetime.now(UTC)
        since = now - max(PERIODS.values())
        with self._lock:
            response = aws.stepfunctions().list_executions(
                stateMachineArn=self._state_machine_arn, maxResults=MAX_EXECUTIONS
            )
            listed = [found for found in response["executions"] if _position(found) >= since]
            with ThreadPoolExecutor(_READERS) as pool:
                executions = tuple(pool.map(self._execution, listed))
            self._images = {found.name: found.images for found in executions if found.stopped}
        periods = tuple(
            _period(name, (found for found in executions if found.time >= now - length))
            for name, length in PERIODS.items()
        )
        is_complete = len(listed) < len(response["executions"]) or "nextToken" not in response
        return Recent(executions, periods, is_complete)

    def _execution(self, found: "ExecutionListItemTypeDef") -> Execution:
        stopped = found.get("stopDate")
        images: tuple[Image, ...] = ()
        if stopped:
            known = self._images.get(found["name"])
            images = read_images(self._bucket, found["name"]) if known is None else known
        return Execution(found["executionArn"], found["name"], found["status"], found["startDate"], stopped, images)


def read_images(bucket: str, execution: str) -> tuple[Image, ...]:
    """The outcomes of an execution's manifest, in the order of its images; empty if it left none."""
    key = f"{prefixes.MANIFESTS}{execution}.json"
    try:
        outcomes = read_json(aws.s3().get_object(Bucket=bucket, Key=key)["Body"], name=key).get("outcomes")
    except (aws.s3().exceptions.NoSuchKey, DocumentError):
        return ()
    return tuple(map(Image.of, outcomes)) if isinstance(outcomes, list) else ()


def _period(name: str, executions: Iterable[Execution]) -> Period:
    found = list(executions)
    return Period(
        name,
        executions=Counter(execution.outcome for execution in found),
        images=Counter(image.outcome for execution in found for image in execution.images),
    )


def _position(found: "ExecutionListItemTypeDef") -> datetime:
    return found.get("stopDate") or found.get("redriveDate") or found["startDate"]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
