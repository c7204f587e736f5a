"""RetrainingGuard: may this run go on? One at a time, so many a day, and a pause between two.

The runs are in one small object, the ledger, which is changed by compare-and-swap: S3 stores it only if it is still
the one that was read (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). Of runs that
start at the same moment exactly one gets through. A listing of executions could not promise that: it is eventually
consistent. Nothing has to be unlocked: the ledger names its holder, and a holder that does not run any more, for
whatever reason, holds nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.retraining.errors import GuardContentionError
from lambda_src.shared import aws, settings
from lambda_src.shared.json_reader import parse_json
from lambda_src.shared.pause import last_pause

LEDGER_KEY = "retraining/ledger.json"
ATTEMPTS = 10
# An execution that has just started may not be described yet
SETTLING = timedelta(minutes=5)
DAY = timedelta(days=1)
_LOST_RACE = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}


@dataclass(frozen=True)
class Request:
    """A run that wants to go on. A rollback is urgent and a forced run is somebody's decision: neither has to wait."""

    execution_arn: str
    started_at: datetime
    trigger: str
    is_urgent: bool
    is_counted: bool

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "Request":
        given = event.get("input") or {}
        is_rollback = given.get("rollback") is True  # as the state machine has it
        return cls(
            execution_arn=event["execution_arn"],
            started_at=datetime.fromisoformat(event["started_at"]),
            trigger=str(given.get("trigger", "manual")),
            is_urgent=is_rollback or given.get("force") is True,
            is_counted=not is_rollback,
        )

    @property
    def run(self) -> str:
        """A short name of the run, for the names of what it creates."""
        return hashlib.sha256(self.execution_arn.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Ledger:
    """Who holds the right to change the endpoint, since when, and when the runs of the last day started."""

    holder: str = ""
    held_since: str = ""
    starts: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, body: bytes) -> "Ledger":
        content = parse_json(body)
        return cls(content["holder"], content["held_since"], tuple(content["starts"]))


@dataclass(frozen=True)
class Limits:
    """How often a run may start that nobody forces."""

    max_per_day: int
    cool_down: timedelta


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"execution_arn", "started_at", "input"}`; answers `{"run", "trigger", "refusal"}`, "" for none."""
    request = Request.of(event)
    limits = Limits(settings.max_per_day(), timedelta(minutes=settings.cool_down_minutes()))
    refusal = paused() or enter(request, limits)
    return {"run": request.run, "trigger": request.trigger, "refusal": refusal}


def paused() -> str:
    """Why no run may go on while the endpoint is paused, whose model it would compare with and replace; or ""."""
    pause = last_pause()
    if pause is None or pause.is_over:
        return ""
    since = pause.paused_at.isoformat(timespec="seconds")
    return f"the endpoint is paused since {since}: resume it with `python -m ops resume`, and start the run again"


def enter(request: Request, limits: Limits) -> str:
    """Write the run into the ledger, or say why it must not go on; raises GuardContentionError."""
    for _ in range(ATTEMPTS):
        ledger, condition = _read()
        if ledger.holder == request.execution_arn:  # a retry of this very step
            return ""
        holder_runs = bool(ledger.holder) and is_running(ledger, request.started_at)
        refusal = why_not(ledger, request, limits, holder_runs=holder_runs)
        if refusal:
            return refusal
        if _write(entered(ledger, request), condition):
            return ""
    raise GuardContentionError(f"the ledger changed {ATTEMPTS} times while it was read: {LEDGER_KEY}")


def why_not(ledger: Ledger, request: Request, limits: Limits, *, holder_runs: bool) -> str:
    """Why the run must not go on, or ""."""
    if holder_runs:
        return f"another run is under way since {ledger.held_since}: {ledger.holder}"
    if request.is_urgent:
        return ""
    starts = [datetime.fromisoformat(start) for start in ledger.starts]
    recent = [start for start in starts if request.started_at - start < DAY]
    if len(recent) >= limits.max_per_day:
        return f"{len(recent)} runs started within a day, and {limits.max_per_day} are allowed"
    if recent and request.started_at - max(recent) < limits.cool_down:
        minutes = limits.cool_down.total_seconds() / 60
        return f"the last run started at {max(recent).isoformat()}, less than {minutes:.0f} minutes ago"
    return ""


def entered(ledger: Ledger, request: Request) -> Ledger:
    """The ledger with this run as its holder."""
    started = request.started_at.isoformat()
    recent = [start for start in ledger.starts if request.started_at - datetime.fromisoformat(start) < DAY]
    if request.is_counted:
        recent.append(started)
    return replace(ledger, holder=request.execution_arn, held_since=started, starts=tuple(recent))


def is_running(ledger: Ledger, now: datetime) -> bool:
    """Whether the holder's execution is under way."""
    try:
        return aws.stepfunctions().describe_execution(executionArn=ledger.holder)["status"] == "RUNNING"
    except aws.stepfunctions().exceptions.ExecutionDoesNotExist:
        return now - datetime.fromisoformat(ledger.held_since) < SETTLING


def _read() -> tuple[Ledger, dict[str, str]]:
    """The ledger, and the condition under which it may be replaced."""
    try:
        answer = aws.s3().get_object(Bucket=settings.bucket_name(), Key=LEDGER_KEY)
    except aws.s3().exceptions.NoSuchKey:
        return Ledger(), {"IfNoneMatch": "*"}
    return Ledger.from_json(answer["Body"].read()), {"IfMatch": answer["ETag"]}


def _write(ledger: Ledger, condition: dict[str, Any]) -> bool:
    """Whether the ledger was still the one that was read."""
    try:
        aws.s3().put_object(
            Bucket=settings.bucket_name(),
            Key=LEDGER_KEY,
            Body=json.dumps({**asdict(ledger), "written_at": datetime.now(UTC).isoformat()}).encode(),
            ContentType="application/json",
            **condition,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in _LOST_RACE:
            return False
        raise
    return True
