"""The emulator and the reference implementation agree on every JSONata expression, on generated inputs."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonata
import pytest
from ministack.services import stepfunctions

from local import adapters
from stacks.config import PROJECT_ROOT
from tests.infrastructure.conftest import definitions_of
from tests.infrastructure.test_limits import states_of
from tests.second_opinion import Case, disagreements

TEXT = "Fahrrad ü 漢字 😀"
OUTCOMES = [
    {"outcome": "ACCEPTED", "s3_key": "incoming/a.png", "label": "bicycle", "confidence": 0.97},
    {"outcome": "REJECTED", "s3_key": TEXT, "error": "LowConfidenceError", "cause": "bicycle with confidence 0.5"},
    {"outcome": "FAILED"},
]
JOB = {
    "job": "scones-dev-1",
    "model": "m",
    "container": {"Image": "i", "Environment": {}},
    "artifact_uri": "s3://b/m.tar.gz",
    "endpoint_config": "c",
}
SCORES = {"accuracy": 0.91, "calibration_error": 0.05, "images": 200}
# Each expression is evaluated on this state input, and with changed values of the members that it names
INPUT = {
    "s3_bucket": "images",
    "s3_key": "incoming/a.png",
    "s3_version_id": "v1",
    "s3_prefix": "incoming/2026/",
    "manifest_key": "bulk/a.csv",
    "images": [{"s3_bucket": "images", "s3_key": "incoming/a.png"}, {"s3_key": TEXT}],
    "Items": [{"s3_bucket": "images", "s3_key": "incoming/a.png"}, {"s3_key": "incoming/"}, {"s3_key": 7}],
    "done": OUTCOMES[:1],
    "pending": [{"s3_key": TEXT}],
    "label": "bicycle",
    "confidence": 0.5,
    "counts": {"ACCEPTED": 1, "REJECTED": 1, "FAILED": 1},
    "outcomes": OUTCOMES,
    "examples": OUTCOMES[1:],
    "Error": "States.TaskFailed",
    "Cause": '{"FailureReason": "ClientError: bad image"}',
    "model": "m",
    "endpoint_config": "c",
    "job_failure": "ClientError",
    "run": "0123abcd",
    "trigger": "manual",
    "refusal": "",
    "input": {"rollback": False, "job": "scones-dev-1", "approval": True},
    "data": {"train": 1000, "data_digest": "0" * 64, "validation_manifest": "retraining/validation.manifest"},
    "training": {"job": "scones-dev-1", "status": "InProgress"},
    "models": {"candidate": JOB, "incumbent": JOB, "is_served": False, "is_released": True},
    "evaluation": {"candidate": SCORES, "incumbent": SCORES, "reasons": ["accuracy 0.5 is under the minimum"]},
    "approval": {"package": "arn:aws:sagemaker:::p", "status": "Approved", "deadline": 1.5e12},
    "endpoint": {"status": "InService", "config": "c", "reason": ""},
    "release": {"endpoint_config": "c"},
    "restoring": True,
    # The failure that a retraining run describes, and the error output that a pause keeps
    "failure": {"error": "States.Timeout", "cause": TEXT, "Error": "States.Timeout", "Cause": TEXT},
    "action": "pause",
    "stack": {"status": "UPDATE_COMPLETE", "is_paused": False, "parameters": ["EndpointPaused", "BootstrapVersion"]},
    "pause": {"paused_at": "2026-11-26T18:00:00.000Z"},
    "waiting": "waiting/20261126180000000/",
    "is_anything_waiting": True,
}
STATES: dict[str, Any] = {
    "input": INPUT,
    "result": {
        "Payload": {**INPUT, "prediction_key": f"predictions/{TEXT}/v1.json"},
        "Contents": [{"Key": "incoming/a.png"}, {"Key": f"incoming/{TEXT}"}, {"Key": "incoming/"}],
        "EndpointConfigName": "c",
        "EndpointStatus": "InService",
        "FailureReason": "alarms",
        "ProductionVariants": [{"ModelName": "m"}],
        "ModelPackageArn": "arn:aws:sagemaker:::p",
        "ModelApprovalStatus": "Approved",
        "Stacks": [
            {
                "StackStatus": "UPDATE_COMPLETE",
                "Parameters": [
                    {"ParameterKey": "EndpointPaused", "ParameterValue": "false"},
                    {"ParameterKey": "BootstrapVersion", "ParameterValue": "/cdk-bootstrap/own/version"},
                ],
            }
        ],
        "Executions": [{"ExecutionArn": "arn:aws:states:us-east-1:123456789012:execution:m:e"}],
        "Body": '{"paused_at": "2026-11-26T18:00:00.000Z"}',
    },
    "errorOutput": {"Error": "LowConfidenceError", "Cause": json.dumps({"errorMessage": TEXT * 20})},
    "context": {
        "Execution": {
            "Id": "arn:aws:states:us-east-1:123456789012:execution:m:e",
            "Name": "0b5ad2a8-53c5-4a53-a3c9-a4a0c45a0fbd",
            "StartTime": "2026-11-25T08:00:00Z",
            "RedriveCount": 0,
            "Input": {"s3_prefix": "incoming/"},
        },
        "Map": {"Item": {"Index": 0, "Value": {"Key": f"incoming/{TEXT}", "Bucket": "b", "s3_key": "k+1%20"}}},
    },
}
MISSING = object()
CHANGES = [
    MISSING,
    None,
    "",
    "text",
    TEXT,
    "\ud83d",
    "a\n\u202eb",
    '{"errorMessage": 7}',
    "{no json}",
    0,
    1.5,
    True,
    [],
    [TEXT],
    {},
]
# In some places jsonata-python treats null as a missing value. Only members that users write can be null
NULLABLE = {"s3_bucket", "s3_key", "s3_version_id", "s3_prefix", "manifest_key", "images", "label", "confidence"}


def expressions(value: Any) -> Iterator[str]:
    """The text within `{% %}` of every string."""
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from expressions(member)
    elif isinstance(value, str) and value.startswith("{%"):
        yield value[2:-2].strip()


@pytest.fixture(scope="module")
def definitions(assembly: Path) -> list[dict[str, Any]]:
    """Those of both environments, which have most expressions in common."""
    return [*definitions_of(assembly, "dev"), *definitions_of(assembly, "prod")]


@pytest.fixture(scope="module")
def evaluated(definitions: list[dict[str, Any]]) -> list[Case]:
    adapters.leave_text_in_json_as_it_is()
    return [
        emulated(expression, states)
        for expression in sorted(set(expressions(definitions)))
        for states in variants(expression)
    ]


def variants(expression: str) -> Iterator[dict[str, Any]]:
    """STATES, and what becomes of it with each change of each member that the expression names."""
    yield STATES
    for path in sorted(set(re.findall(r"\$states\.(\w+(?:\.\w+)*)", expression))):
        if path.startswith("context.Execution"):  # Step Functions itself writes it
            continue
        for change in CHANGES:
            name = path.rpartition(".")[2]
            if ("." not in path and change is MISSING) or (change is None and name not in NULLABLE):
                continue
            yield changed(STATES, path.split("."), change)


def changed(holder: dict[str, Any], path: Sequence[str], change: Any) -> dict[str, Any]:
    """A copy of the holder in which the member of this path has changed, or is missing."""
    name, *rest = path
    if rest:
        change = changed(holder.get(name, {}), rest, change)
    return {key: value for key, value in {**holder, name: change}.items() if value is not MISSING}


def emulated(expression: str, states: dict[str, Any]) -> Case:
    """As local/expressions.py records an evaluation."""
    variables = {"start_until": 1.9e12}
    case = {"expression": expression, "states": states, "variables": variables}
    try:
        value = stepfunctions._evaluate_jsonata(
            expression,
            states.get("input"),
            {**states["context"], "variables": variables},
            states.get("result"),
            states.get("errorOutput"),
        )
    except stepfunctions._ExecutionError as error:
        case["error"] = str(error)
    else:
        case["value"] = value
    return {**case, "millis": jsonata.Jsonata.CURRENT.jsonata.timestamp}


def test_both_implementations_agree_on_every_expression(evaluated: list[Case]) -> None:
    assert len(evaluated) > 1000
    found = disagreements(evaluated)
    assert not found, f"{len(found)} of {len(evaluated)}:\n" + "\n".join(found[:10])


def test_a_condition_is_true_or_false_for_any_input(evaluated: list[Case], definitions: list[dict[str, Any]]) -> None:
    """The emulator goes on with anything; https://states-language.net/#choice-state asks for a boolean."""
    conditions = {
        expression
        for definition in definitions
        for _, state, _ in states_of(definition)
        for choice in state.get("Choices", [])
        for expression in expressions(choice["Condition"])
    }
    assert len(conditions) > 20
    for case in evaluated:
        if case["expression"] in conditions and "value" in case:
            assert isinstance(case["value"], bool), (case["expression"], case["value"])


def test_the_reference_is_of_the_version_that_step_functions_supports() -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html"""
    installed = json.loads((PROJECT_ROOT / "node_modules" / "jsonata" / "package.json").read_text())
    assert installed["version"] == "2.0.6"
