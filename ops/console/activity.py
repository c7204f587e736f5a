"""The recent executions of the workflows, including bulk runs, and the number of images by outcome.

The data comes from Step Functions' list of executions and from the manifests. Metrics would count every attempt of a
step, but an image has one outcome. A manifest never changes, so each is read once. The manifest of a bulk run has
counts and a few examples.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lambda_src.shared.json_reader import DocumentError, read_json
from ops import aws
from stacks.shared import prefixes

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef, ListExecutionsOutputTypeDef

PERIODS = {"last hour": timedelta(hours=1), "last day": timedelta(days=1)}
MAX_EXECUTIONS = 1000  # one page of each workflow's list
MAX_FAILURES = 20
OUTCOMES = ("ACCEPTED", "REJECTED", "WAITING", "FAILED")
_READERS = 16


@dataclass(frozen=True)
class Image:
    """One image's outcome, from the manifest. Missing members are empty."""

    key: str
    version_id: str
    outcome: str
    label: str
    confidence: float | None
    error: str
    cause: str

    @classmethod
    def of(cls, found: Any) -> "Image":
        """From a member of a manifest's `outcomes`. The item of a failed one may have any type."""
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
        """Why the image was not accepted, without its URI, with which most causes end."""
        cause = self.cause.partition(": s3://")[0]
        return f"{self.error}: {cause}" if cause else self.error


@dataclass(frozen=True)
class Outcomes:
    """The outcomes in a manifest: of all images, or of the first ones that a bulk run did not accept."""

    counts: Counter[str] = field(default_factory=Counter)
    images: tuple[Image, ...] = ()


@dataclass(frozen=True)
class Execution:
    """One execution. It has no outcomes while it runs, or if it wrote no manifest."""

    arn: str
    name: str
    status: str
    started: datetime
    stopped: datetime | None
    outcomes: Outcomes

    @property
    def workflow(self) -> str:
        """The state machine's name."""
        return self.arn.split(":")[-2]

    @property
    def path(self) -> str:
        """Path of the execution's page."""
        return f"/executions/{self.workflow}/{quote(self.name)}"

    @property
    def time(self) -> datetime:
        """When it ended or, while it runs, when it started."""
        return self.stopped or self.started

    @property
    def outcome(self) -> str:
        """Its status, or REJECTED if it failed only because of low confidence."""
        counts = self.outcomes.counts
        return "REJECTED" if self.status == "FAILED" and counts["REJECTED"] and not counts["FAILED"] else self.status


@dataclass(frozen=True)
class Period:
    """Counts of the executions that ended in a period or are running, and of their images."""

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
    """The executions of the last day, newest first."""

    executions: tuple[Execution, ...]
    periods: tuple[Period, ...]
    is_complete: bool  # False: a workflow had more than MAX_EXECUTIONS

    @property
    def failures(self) -> list[Failure]:
        """The latest MAX_FAILURES failures."""
        found: list[Failure] = []
        for execution in self.executions:
            images = [Failure(execution, image) for image in execution.outcomes.images if image.outcome != "ACCEPTED"]
            is_silent = not images and execution.status not in {"SUCCEEDED", "RUNNING", "PENDING_REDRIVE"}
            found += [Failure(execution, None)] if is_silent else images
            if len(found) >= MAX_FAILURES:
                break
        return found[:MAX_FAILURES]


class Activity:
    """Reads the last day's executions of some state machines, and caches their manifests."""

    def __init__(self, *, workflows: Sequence[str], bucket: str) -> None:
        self._workflows = workflows
        self._bucket = bucket
        self._outcomes: dict[str, Outcomes] = {}  # by execution
        self._lock = threading.Lock()  # for concurrent requests: the second one uses what the first has read

    def recent(self, *, now: datetime | None = None) -> Recent:
        """Raises boto3's errors."""
        now = now or datetime.now(UTC)
        since = now - max(PERIODS.values())
        with self._lock, ThreadPoolExecutor(_READERS) as pool:
            listings = list(pool.map(_newest, self._workflows))
            listed = [found for listing in listings for found in listing["executions"] if _is_since(since, found)]
            executions = sorted(pool.map(self._execution, listed), key=lambda found: found.time, reverse=True)
            self._outcomes = {found.arn: found.outcomes for found in executions if found.stopped}
        return Recent(
            tuple(executions),
            tuple(_period(name, now - length, executions) for name, length in PERIODS.items()),
            is_complete=all(
                "nextToken" not in listing or not _is_since(since, listing["executions"][-1]) for listing in listings
            ),
        )

    def _execution(self, found: "ExecutionListItemTypeDef") -> Execution:
        arn, stopped = found["executionArn"], found.get("stopDate")
        outcomes = self._outcomes.get(arn) or (read_outcomes(self._bucket, found["name"]) if stopped else Outcomes())
        return Execution(arn, found["name"], found["status"], found["startDate"], stopped, outcomes)


def read_outcomes(bucket: str, execution: str) -> Outcomes:
    """The outcomes in an execution's manifest, in the order of its images; empty if it wrote none."""
    key = f"{prefixes.MANIFESTS}{execution}.json"
    try:
        manifest = read_json(aws.s3().get_object(Bucket=bucket, Key=key)["Body"], name=key)
    except (aws.s3().exceptions.NoSuchKey, DocumentError):
        return Outcomes()
    counts, listed = manifest.get("counts"), manifest.get("outcomes")
    images = listed if isinstance(listed, list) else manifest.get("examples")  # a bulk manifest lists files of outcomes
    return Outcomes(
        Counter({name: int(counts.get(name, 0)) for name in OUTCOMES} if isinstance(counts, dict) else {}),
        tuple(map(Image.of, images)) if isinstance(images, list) else (),
    )


def _newest(workflow: str) -> "ListExecutionsOutputTypeDef":
    return aws.stepfunctions().list_executions(stateMachineArn=workflow, maxResults=MAX_EXECUTIONS)


def _period(name: str, since: datetime, executions: Sequence[Execution]) -> Period:
    found = [execution for execution in executions if execution.stopped is None or execution.stopped >= since]
    return Period(
        name,
        executions=Counter(execution.outcome for execution in found),
        images=sum((execution.outcomes.counts for execution in found), Counter()),
    )


def _is_since(time: datetime, found: "ExecutionListItemTypeDef") -> bool:
    return "stopDate" not in found or found["stopDate"] >= time


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
