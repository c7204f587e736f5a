"""Reads the logs of functions and the ends of executions in the local cloud.

It polls, because the emulator's live tail omits the logs of functions, and drops lines under load.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3

from lambda_src.shared.prediction_record import INFERENCE_ID, PROBABILITIES
from local.demonstration import Environment
from stacks.shared import prefixes

# A line is logged when its invocation ends, so it can appear after lines with a later time
_OVERLAP_MS = 10_000

# The emulator unpacks each function's code into its own folder
_UNPACKED = re.compile(r'"[^"]*/code/(?=lambda_src/)')


@dataclass(frozen=True)
class LogLine:
    """A function's log event, without Lambda's and the metric format's envelope."""

    function: str
    at: datetime
    text: str
    is_routine: bool  # a metric or a duration, not the function's own output


class Logs:
    """Follows the log groups of functions."""

    def __init__(self) -> None:
        self._client = boto3.client("logs")
        self._start_ms = round(time.time() * 1000)
        self._seen: dict[str, Counter[tuple[Any, ...]]] = {}

    def new_lines(self, groups: Mapping[str, str]) -> list[LogLine]:
        """The events since the last call, in order of time. groups: log groups by displayed name."""
        asked_ms = round(time.time() * 1000)
        found = []
        for function, group in groups.items():
            try:
                pages = list(
                    self._client.get_paginator("filter_log_events").paginate(
                        logGroupName=group, startTime=self._start_ms
                    )
                )
            except self._client.exceptions.ResourceNotFoundException:  # a deployment has just removed it
                continue
            events = [event for page in pages for event in page["events"]]
            fresh, self._seen[group] = unseen(self._seen.get(group, Counter()), events)
            found += [line for event in fresh if (line := log_line(function, event))]
        self._start_ms = max(self._start_ms, asked_ms - _OVERLAP_MS)
        return sorted(found, key=lambda line: line.at)


def unseen(
    seen: Counter[tuple[Any, ...]], events: Sequence[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], Counter[tuple[Any, ...]]]:
    """The events that were not seen before, and the new set of seen events. Equal lines count separately."""
    left, fresh = seen.copy(), []
    keys = [(event["logStreamName"], event["timestamp"], event["message"]) for event in events]
    for key, event in zip(keys, events, strict=True):
        if left[key] > 0:
            left[key] -= 1
        else:
            fresh.append(event)
    return fresh, Counter(keys)


def log_line(function: str, event: Mapping[str, Any]) -> LogLine | None:
    """An event of CloudWatch Logs in readable form; None if it has nothing of interest.

    Formats: https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html and, of metrics,
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    message, at = event["message"].rstrip("\n"), datetime.fromtimestamp(event["timestamp"] / 1000).astimezone()
    if message.startswith(("START RequestId: ", "END RequestId: ")):
        return None
    if message.startswith("REPORT RequestId: "):
        duration = re.search(r"Duration: (\S+) ms", message)
        return LogLine(function, at, f"{duration[1]} ms" if duration else message, is_routine=True)
    if metrics := _metrics(message):
        return LogLine(function, at, metrics, is_routine=True)
    return LogLine(function, at, _UNPACKED.sub('"', message), is_routine=False)


def _metrics(message: str) -> str:
    """Names and values of a line in the embedded metric format; empty for any other line."""
    try:
        line = json.loads(message)
        members = line.items() if "_aws" in line else []
    except (ValueError, TypeError, AttributeError):
        return ""
    shown = (
        (name, f"{value:.4g}" if isinstance(value, float) else value)
        for name, value in members
        if name not in {"_aws", INFERENCE_ID, PROBABILITIES}
    )
    return ", ".join(f"{name} {value}" for name, value in shown)


@dataclass(frozen=True)
class Outcome:
    """How an execution ended."""

    state_machine: str
    status: str
    at: datetime
    seconds: float
    reason: str  # error and cause; empty if there are none
    images: Sequence[Mapping[str, Any]]  # from the manifest


class Executions:
    """Follows the ends of the executions of an environment's state machines."""

    def __init__(self, environment: Environment) -> None:
        self._bucket, self._prefix = environment.bucket, f"{environment.config.stage_name}-"
        self._client, self._s3 = boto3.client("stepfunctions"), boto3.client("s3")
        self._ended: set[str] = set()
        self._running: set[str] = set()
        self._newly_ended()

    def new_outcomes(self) -> list[Outcome]:
        """The executions that ended since the last call, in the order of their ends."""
        return [self._outcome(arn) for arn in self._newly_ended()]

    def _newly_ended(self) -> list[str]:
        listed: dict[str, Any] = {
            execution["executionArn"]: execution
            for state_machine in self._state_machines()
            for execution in self._latest(state_machine)
        }
        for arn in self._running - listed.keys():
            listed[arn] = self._client.describe_execution(executionArn=arn)
        self._running = {arn for arn, execution in listed.items() if execution["status"] == "RUNNING"}
        ended = [arn for arn in listed if arn not in self._running | self._ended]
        self._ended = (self._ended | set(ended)) - self._running  # a redriven execution ends again
        return sorted(ended, key=lambda arn: listed[arn]["stopDate"])

    def _state_machines(self) -> list[str]:
        pages = self._client.get_paginator("list_state_machines").paginate()
        machines = [machine for page in pages for machine in page["stateMachines"]]
        return [machine["stateMachineArn"] for machine in machines if machine["name"].startswith(self._prefix)]

    def _latest(self, state_machine_arn: str) -> Iterator[Any]:
        """The latest executions, back to a page without new ones."""
        pages = self._client.get_paginator("list_executions").paginate(
            stateMachineArn=state_machine_arn, PaginationConfig={"PageSize": 100}
        )
        for page in pages:
            yield from page["executions"]
            if all(execution["executionArn"] in self._ended | self._running for execution in page["executions"]):
                return

    def _outcome(self, arn: str) -> Outcome:
        described = self._client.describe_execution(executionArn=arn)
        return Outcome(
            state_machine=short_name(described["stateMachineArn"].rpartition(":")[2].removeprefix(self._prefix)),
            status=described["status"],
            at=described["stopDate"],
            seconds=(described["stopDate"] - described["startDate"]).total_seconds(),
            reason=": ".join(filter(None, (described.get("error"), described.get("cause")))),
            images=self._images(described["name"]),
        )

    def _images(self, execution_name: str) -> Sequence[Mapping[str, Any]]:
        key = f"{prefixes.MANIFESTS}{execution_name}.json"
        try:
            manifest = json.loads(self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read())
        except self._s3.exceptions.NoSuchKey:
            return []
        outcomes = manifest["outcomes"]
        return outcomes if isinstance(outcomes, list) else []  # a bulk run's manifest names the files with the outcomes


def short_name(name: str) -> str:
    """The construct's name of a resource that CloudFormation named `STACK-CONSTRUCT<hash>-<random>`."""
    return re.sub(r"^\w+-(?=.*-)|[0-9A-F]{8}-\w+$", "", name)
