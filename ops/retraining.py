"""Start a run of the retraining workflow, follow it, and report the outcome: `retrain` and `rollback`."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from data_prep.options import EnvironmentName
from ops import aws
from ops.errors import OpsError
from stacks.config import load_environment

POLL_SECONDS = 2.0
_FIRST_POLL_SECONDS = 0.1
# Terminal states without a failure, after which the endpoint serves the requested model
_DONE = {"Released", "NothingNew"}


def retrain(
    env: EnvironmentName,
    force: Annotated[bool, typer.Option(help="Ignore the cool-down between two runs.")] = False,
    approval: Annotated[bool, typer.Option(help="Wait for manual approval, as prod always does.")] = False,
) -> None:
    """Train on the data set in the bucket; release the model if it is good enough."""
    _run(env, training_input(force=force, approval=approval))


def rollback(
    env: EnvironmentName,
    to: Annotated[
        str, typer.Option(help="Training job of the model to roll back to. Default: the one released before.")
    ] = "",
) -> None:
    """Roll back to an earlier model immediately; the next deployment keeps it."""
    _run(env, rollback_input(to))


def training_input(*, force: bool, approval: bool) -> dict[str, Any]:
    """The input of a manual run."""
    return {"trigger": "manual", "force": force, "approval": approval}


def rollback_input(job: str = "") -> dict[str, Any]:
    """The input of a rollback to a training job's model, or to the previous one."""
    return {"trigger": "manual", "rollback": True, **({"job": job} if job else {})}


def start_run(state_machine_arn: str, execution_input: Mapping[str, Any]) -> str:
    """Start the retraining workflow; returns the execution's ARN."""
    started = aws.stepfunctions().start_execution(stateMachineArn=state_machine_arn, input=json.dumps(execution_input))
    return started["executionArn"]


def _run(env: str, execution_input: dict[str, Any]) -> None:
    config = load_environment(env)
    console = Console(highlight=False)
    client = aws.stepfunctions()
    arn = start_run(aws.retraining_machine(config), execution_input)
    console.print(arn, soft_wrap=True)
    last = ""
    for last in entered_states(client, arn):
        console.print(f"  {last}")
    described = client.describe_execution(executionArn=arn)
    output = json.loads(described.get("output", "{}"))
    for line in _evaluation(output, last):
        console.print(line, soft_wrap=True)
    if last in _DONE:
        if last == "NothingNew":
            console.print("NothingNew: the data and parameters are those of the model in service")
        model = output["models"]["candidate"]["job"]
        console.print(f"[green]{config.endpoint_name} serves {model}[/]", soft_wrap=True)
        return
    raise OpsError(f"{last}: {_reason(described, output)}")


def _evaluation(output: Mapping[str, Any], outcome: str) -> Iterator[str]:
    """Both models' results on the validation images, if they were compared, and why the candidate was released."""
    found = output.get("evaluation")
    if not found:
        return
    for role in ("candidate", "incumbent"):
        result = found[role]
        yield (
            f"{role} {output['models'][role]['job']}: accuracy {result['accuracy']:.4f}, "
            f"calibration error {result['calibration_error']:.4f}"
        )
    yield f"Both on the same {found['candidate']['images']:,} validation images."
    if outcome == "Released":
        yield "Released: the candidate is within every bound"


def entered_states(client: Any, arn: str) -> Iterator[str]:
    """The names of an execution's states as they are entered, until it ends. Asks seldom once it has run for long."""
    shown, wait = 0, _FIRST_POLL_SECONDS
    while True:
        status = client.describe_execution(executionArn=arn)["status"]
        pages = client.get_paginator("get_execution_history").paginate(executionArn=arn)
        names = [
            event["stateEnteredEventDetails"]["name"]
            for page in pages
            for event in page["events"]
            if "stateEnteredEventDetails" in event
        ]
        yield from names[shown:]
        shown = len(names)
        if status != "RUNNING":
            return
        time.sleep(wait)
        wait = min(2 * wait, POLL_SECONDS)


def _reason(described: Mapping[str, Any], output: Mapping[str, Any]) -> str:
    if described["status"] != "SUCCEEDED":
        return f"{described.get('cause') or described['status']}"
    if output.get("refusal"):
        return str(output["refusal"])
    reasons = output.get("evaluation", {}).get("reasons")
    return "; ".join(reasons) if reasons else f"approval {output.get('approval', {}).get('status', 'unknown')}"
