"""RetrainingGuard: decides whether a run may proceed. One run at a time, with a minimum time between two starts.

The run lock is a small object that is changed by compare-and-swap: S3 replaces it only if it is still the one that was
read (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). So of runs that start at the same
moment, exactly one proceeds. Listing the executions would not guarantee that, because the list is eventually
consistent. The lock is never released: it names the execution that holds it, and ends with that execution, however
that ends.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.retraining.errors import GuardContentionError
from lambda_src.shared import aws, settings
from lambda_src.shared.json_reader import parse_json
from lambda_src.shared.pause import last_pause

LOCK_KEY = "retraining/ledger.json"
ATTEMPTS = 10
# DescribeExecution may not know an execution yet that has just started
SETTLING = timedelta(minutes=5)
_LOST_RACE = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}


@dataclass(frozen=True)
class Request:
    """A run that asks to proceed. The cool-down applies neither to a rollback nor to a run that an operator forces."""

    execution_arn: str
    started_at: datetime
    trigger: str
    is_rollback: bool
    is_forced: bool

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "Request":
        given = event.get("input") or {}
        return cls(
            execution_arn=event["execution_arn"],
            started_at=datetime.fromisoformat(event["started_at"]),
            trigger=str(given.get("trigger", "manual")),
            is_rollback=given.get("rollback") is True,  # the same test as in the state machine
            is_forced=given.get("force") is True,
        )

    @property
    def run(self) -> str:
        """Eight hexadecimal digits that identify the run, for the names of the resources that it creates."""
        return hashlib.sha256(self.execution_arn.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class RunLock:
    """The execution that may change the endpoint, since when, and when the last run started that was no rollback.

    The ARN and the times, in ISO 8601, are empty before the first run.
    """

    holder: str = ""
    held_since: str = ""
    last_start: str = ""

    @classmethod
    def from_json(cls, body: bytes) -> "RunLock":
        content = parse_json(body)
        return cls(content["holder"], content["held_since"], content.get("last_start", ""))


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"execution_arn", "started_at", "input"}`; returns `{"run", "trigger", "refusal"}`.

    refusal: the reason why the run must not proceed, or "".
    """
    request = Request.of(event)
    refusal = paused() or acquire(request, timedelta(minutes=settings.cool_down_minutes()))
    return {"run": request.run, "trigger": request.trigger, "refusal": refusal}


def paused() -> str:
    """The reason to refuse a run while the endpoint, whose model it would replace, is paused; "" if it is not."""
    pause = last_pause()
    if pause is None or pause.is_over:
        return ""
    since = pause.paused_at.isoformat(timespec="seconds")
    return f"the endpoint is paused since {since}: resume it with `python -m ops resume`, and start the run again"


def acquire(request: Request, cool_down: timedelta) -> str:
    """Make the run the holder of the lock; returns the reason if it is refused. Raises GuardContentionError."""
    for _ in range(ATTEMPTS):
        lock, condition = _read()
        if lock.holder == request.execution_arn:  # a retry of this step
            return ""
        is_held = bool(lock.holder) and is_running(lock, request.started_at)
        refusal = refusal_reason(lock, request, cool_down, is_held=is_held)
        if refusal:
            return refusal
        if _write(held_by(request, lock), condition):
            return ""
    raise GuardContentionError(f"the run lock changed {ATTEMPTS} times while it was read: {LOCK_KEY}")


def refusal_reason(lock: RunLock, request: Request, cool_down: timedelta, *, is_held: bool) -> str:
    """Why the run must not proceed; "" if it may."""
    if is_held:
        return f"another run is in progress since {lock.held_since}: {lock.holder}"
    if request.is_rollback or request.is_forced or not lock.last_start:
        return ""
    if request.started_at - datetime.fromisoformat(lock.last_start) < cool_down:
        return f"the last run started at {lock.last_start}, less than {cool_down.total_seconds() / 60:.0f} minutes ago"
    return ""


def held_by(request: Request, lock: RunLock) -> RunLock:
    """The lock with this run as its holder. A rollback does not start a new cool-down."""
    started = request.started_at.isoformat()
    return RunLock(request.execution_arn, started, lock.last_start if request.is_rollback else started)


def is_running(lock: RunLock, now: datetime) -> bool:
    """Whether the holder's execution is in progress."""
    try:
        return aws.stepfunctions().describe_execution(executionArn=lock.holder)["status"] == "RUNNING"
    except aws.stepfunctions().exceptions.ExecutionDoesNotExist:
        return now - datetime.fromisoformat(lock.held_since) < SETTLING


def _read() -> tuple[RunLock, dict[str, str]]:
    """The lock, and the condition for replacing it."""
    try:
        response = aws.s3().get_object(Bucket=settings.bucket_name(), Key=LOCK_KEY)
    except aws.s3().exceptions.NoSuchKey:
        return RunLock(), {"IfNoneMatch": "*"}
    return RunLock.from_json(response["Body"].read()), {"IfMatch": response["ETag"]}


def _write(lock: RunLock, condition: dict[str, Any]) -> bool:
    """Replace the lock; returns whether it was still the one that was read."""
    try:
        aws.s3().put_object(
            Bucket=settings.bucket_name(),
            Key=LOCK_KEY,
            Body=json.dumps({**asdict(lock), "written_at": datetime.now(UTC).isoformat()}).encode(),
            ContentType="application/json",
            **condition,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in _LOST_RACE:
            return False
        raise
    return True
