"""Collects the outcomes of a run's requests, from Step Functions' list of executions and the manifests.

Not one call per execution: a look is one page of the listing, and S3 has no quota that reading manifests uses up. Only
an upload whose execution left no manifest is described.

The listing sorts a running execution by its start and an ended one by its stop, the most recent first, and may be late
(https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html). So whatever ends from now on
will stand above everything that the last look has seen, however long ago it started.
"""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from data_prep.progress import Progress, silent
from lambda_src.shared.json_reader import read_json
from lambda_src.shared.text import shortened
from ops import aws
from ops.traffic.plan import Run
from ops.traffic.tally import Tally
from stacks.classification.upload_event import image_key
from stacks.shared import prefixes

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef

POLL_SECONDS = 1.0
LATE = timedelta(seconds=30)  # delay with which an ended execution may appear in the list
_READERS = 16
_RUNNING = {"RUNNING", "PENDING_REDRIVE"}


class Follower:
    """Fills the tally with outcomes."""

    def __init__(self, run: Run, tally: Tally) -> None:
        self._run = run
        self._tally = tally
        self._began = run.began - LATE
        self._since = self._began
        self._looked_at: set[str] = set()
        self._again: list[ExecutionListItemTypeDef] = []

    def follow_until(self, stop: threading.Event, *, progress: Progress = silent) -> None:
        """Poll until `stop`, then check the whole run once more and record the requests without an outcome."""
        with ThreadPoolExecutor(_READERS) as pool:
            while not stop.wait(POLL_SECONDS):
                self.look(pool)
                progress("finished", self._tally.finished, self._run.plan.images)
            self.account(pool)

    def look(self, pool: ThreadPoolExecutor) -> None:
        """Count every execution that has ended since the last look."""
        self._look(pool, since=self._since)

    def account(self, pool: ThreadPoolExecutor) -> None:
        """Check the whole run once more, and record every request that still has no outcome."""
        statuses: dict[int, str] | None = None
        if self._tally.open_requests() or self._tally.not_sent:
            statuses = self._look(pool, since=self._began)
        for number in self._tally.open_requests():
            if statuses is None:
                known = "unknown: the listing failed"
            elif self._run.plan.via == "uploads":
                known = "unknown: no execution of it has ended"
            else:
                known = statuses.get(number, "unknown: not listed")
            self._tally.unfinished_requests[self._run.request_name(number)] = known

    def _look(self, pool: ThreadPoolExecutor, *, since: datetime) -> dict[int, str] | None:
        """Status of each listed execution that belongs to a request, by the request's number; None if that failed."""
        try:
            listed = list(self._listed(since))
        except (ClientError, BotoCoreError) as error:  # the next poll makes up for it
            self._note_failed_look(error)
            return None
        mine = {number: e for e in listed if (number := self._run.number_of(e["name"])) is not None}
        for number in mine:
            self._tally.confirm(number)
        # Executions started by uploads have other names
        candidates = listed if self._run.plan.via == "uploads" else mine.values()
        looks = list({e["name"]: e for e in [*self._again, *candidates] if self._is_news(e)}.values())
        is_done = list(pool.map(self._is_looked_at, looks))
        self._looked_at |= {e["name"] for e, done in zip(looks, is_done, strict=True) if done}
        self._again = [e for e, done in zip(looks, is_done, strict=True) if not done]
        if listed:
            self._since = max(self._since, max(map(_position, listed)) - LATE)
        return {number: execution["status"] for number, execution in mine.items()}

    def _is_news(self, execution: "ExecutionListItemTypeDef") -> bool:
        return (
            execution["status"] not in _RUNNING
            and execution["stopDate"] >= self._began
            and execution["name"] not in self._looked_at
        )

    def _listed(self, since: datetime) -> Iterator["ExecutionListItemTypeDef"]:
        """The pages of the list back to `since`."""
        pages = (
            aws.stepfunctions()
            .get_paginator("list_executions")
            .paginate(stateMachineArn=self._run.deployment.state_machine_arn, PaginationConfig={"PageSize": 200})
        )
        for page in pages:
            yield from page["executions"]
            if page["executions"] and _position(page["executions"][-1]) < since:
                return

    def _is_looked_at(self, execution: "ExecutionListItemTypeDef") -> bool:
        try:
            self._look_at(execution)
        except (ClientError, BotoCoreError) as error:
            self._note_failed_look(error)
            return False
        return True

    def _note_failed_look(self, error: Exception) -> None:
        self._tally.note(shortened(f"not followed at once: {type(error).__name__}: {error}", 160))

    def _look_at(self, execution: "ExecutionListItemTypeDef") -> None:
        outcomes = self._outcomes(execution["name"])
        is_upload = self._run.plan.via == "uploads"
        number = self._run.number_of(_key(execution, outcomes) if is_upload else execution["name"])
        if number is not None:
            seconds = (execution["stopDate"] - execution["startDate"]).total_seconds()
            self._tally.end(number, outcomes, status=execution["status"], seconds=seconds)

    def _outcomes(self, name: str) -> list[dict[str, Any]]:
        """Outcomes in an execution's manifest; empty if it wrote none."""
        key = f"{prefixes.MANIFESTS}{name}.json"
        try:
            response = aws.s3().get_object(Bucket=self._run.deployment.bucket, Key=key)
        except aws.s3().exceptions.NoSuchKey:
            return []
        outcomes: list[dict[str, Any]] = read_json(response["Body"], name=key).get("outcomes", [])
        return outcomes


def _position(execution: "ExecutionListItemTypeDef") -> datetime:
    """The time by which the list sorts an execution."""
    return execution.get("stopDate") or execution.get("redriveDate") or execution["startDate"]


def _key(execution: "ExecutionListItemTypeDef", outcomes: list[dict[str, Any]]) -> str:
    """Key of the object that the execution classifies; empty if there is none."""
    if outcomes:
        return str(outcomes[0].get("s3_key"))
    described = aws.stepfunctions().describe_execution(executionArn=execution["executionArn"])
    try:
        return image_key(json.loads(described.get("input", "{}")))
    except ValueError:
        return ""
