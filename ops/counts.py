"""Counts the transitions and calls in an execution's history: the input of the cost model.

`ops/counts.json` has the counts of executions in the local cloud. `python -m benchmarks.workflow` measures them, and a
test in the local cloud compares them.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

COUNTS = Path(__file__).with_name("counts.json")


@dataclass(frozen=True)
class Counts:
    """Counts of one execution and the children of its Distributed Map."""

    images: int
    states_entered: int  # of the execution itself, whose transitions are billed
    tasks: dict[str, int]  # calls by integration, such as `lambda:invoke`
    children: int  # Express executions
    child_tasks: dict[str, int]


def measure(execution_arn: str, *, images: int) -> Counts:
    """Counts from the history of an ended execution, and from the child executions that the emulator keeps."""
    states = boto3.client("stepfunctions")
    entered, tasks = _count(history(execution_arn))
    children: list[str] = []
    for run in states.list_map_runs(executionArn=execution_arn)["mapRuns"]:
        pages = states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"])
        children += [execution["executionArn"] for page in pages for execution in page["executions"]]
    child_tasks: Counter[str] = Counter()
    for child in children:
        child_tasks += _count(history(child))[1]
    return Counts(images, entered, dict(tasks), len(children), dict(child_tasks))


def history(execution_arn: str) -> list[Any]:
    """All events of an execution."""
    pages = boto3.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    return [event for page in pages for event in page["events"]]


def _count(events: list[Any]) -> tuple[int, Counter[str]]:
    entered = sum(event["type"].endswith("StateEntered") for event in events)
    scheduled = [event["taskScheduledEventDetails"] for event in events if event["type"] == "TaskScheduled"]
    return entered, Counter(details["resource"].rpartition(":::")[2] for details in scheduled)


def load() -> dict[str, Counts]:
    """The committed counts by workflow: `inline-1`, `inline`, `distributed-map`, `batch-transform`."""
    return {name: Counts(**counts) for name, counts in json.loads(COUNTS.read_text(encoding="utf-8")).items()}
