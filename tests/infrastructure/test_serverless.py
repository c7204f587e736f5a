"""An environment with a serverless endpoint: its workflows wait for a container, within the same limits."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from stacks.classification.limits import MAX_IMAGES
from stacks.config import parse_environment
from tests.infrastructure.conftest import Template, definition_of, template_of, text
from tests.infrastructure.test_limits import (
    HISTORY_LIMIT,
    STEPS,
    attempts_and_waits,
    check_batches_end_in_time,
    first_retrier,
)

CONFIG = parse_environment("serverless", {"endpoint": {"kind": "serverless"}})
# The longest start of a container: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-invoke.html
LONGEST_COLD_START_SECONDS = 180


@pytest.fixture(scope="module")
def workflow(variants: Path) -> Template:
    return template_of(variants, "serverless", "Workflow")


@pytest.fixture(scope="module")
def steps(workflow: Template) -> dict[str, Any]:
    definition = definition_of(workflow.only("AWS::StepFunctions::StateMachine"))
    found: dict[str, Any] = definition["States"]["ClassifyImages"]["ItemProcessor"]["States"]
    return found


def test_classifier_waits_until_a_container_must_be_ready(workflow: Template, steps: dict[str, Any]) -> None:
    function = workflow.named("AWS::Lambda::Function", "Classifier")
    assert function["Environment"]["Variables"]["ENDPOINT_KIND"] == "serverless"
    assert 31 < function["Timeout"] < steps["Classifier"]["TimeoutSeconds"]
    retrier = first_retrier(steps["Classifier"], "EndpointUnavailableError")
    _, waits = attempts_and_waits({"Retry": [retrier]})
    assert (1 + retrier["MaxAttempts"]) * 30 + waits / 2 > LONGEST_COLD_START_SECONDS  # full jitter: half on average


def test_the_other_steps_wait_no_longer_than_elsewhere(workflow: Template, steps: dict[str, Any]) -> None:
    for name in ("SerializeImageData", "FilterConfidence"):
        assert workflow.named("AWS::Lambda::Function", name)["Timeout"] == 15
        assert steps[name]["TimeoutSeconds"] == 20
        assert max(retrier["MaxAttempts"] for retrier in steps[name]["Retry"]) == 3


def test_the_longest_list_fits_into_a_history_and_its_execution(workflow: Template, steps: dict[str, Any]) -> None:
    attempts = sum(1 + max(retrier["MaxAttempts"] for retrier in steps[name]["Retry"]) for name in STEPS)
    assert MAX_IMAGES * (2 + 2 * len(STEPS) + 3 * attempts + 2) <= HISTORY_LIMIT - 100
    image_seconds = 0.0
    for name in STEPS:
        most, waits = attempts_and_waits(steps[name])
        image_seconds += most * steps[name]["TimeoutSeconds"] + waits
    definition = definition_of(workflow.only("AWS::StepFunctions::StateMachine"))
    assert definition["TimeoutSeconds"] >= math.ceil(MAX_IMAGES / CONFIG.map_concurrency) * image_seconds + 3600 - 1


def test_no_image_of_a_batch_outlasts_its_express_execution(variants: Path) -> None:
    bulk = template_of(variants, "serverless", "Bulk")
    machines = bulk.resources("AWS::StepFunctions::StateMachine").values()
    assert check_batches_end_in_time([definition_of(machine) for machine in machines]) == 6


def test_the_smoke_test_of_a_release_waits_for_the_new_model_s_first_container(variants: Path) -> None:
    retraining = template_of(variants, "serverless", "Retraining")
    state = definition_of(retraining.only("AWS::StepFunctions::StateMachine"))["States"]["SmokeTest"]
    _, waits = attempts_and_waits({"Retry": [first_retrier(state, "EndpointUnavailableError")]})
    assert waits > LONGEST_COLD_START_SECONDS / 2
    smoke_test = retraining.named("AWS::Lambda::Function", "SmokeTest")
    assert smoke_test["Environment"]["Variables"]["ENDPOINT_KIND"] == "serverless"


@pytest.mark.parametrize("name", ["DriftMonitor", "ModelAccuracy"])
def test_the_monitors_of_predictions_read_the_workflows_record_and_no_captures(variants: Path, name: str) -> None:
    monitoring = template_of(variants, "serverless", "Monitoring")
    location = text(monitoring.named("AWS::Lambda::Function", name)["Environment"]["Variables"]["RECORD_LOCATION"])
    assert re.fullmatch("log-group:<.*FilterConfidenceLogs.*>", location)
    statements = monitoring.statements(f"{name}Role")
    (read,) = [each for each in statements if each["Action"] == "logs:FilterLogEvents"]
    group = f":log-group:{location.removeprefix('log-group:')}"
    assert {text(each).partition(group)[1:] for each in read["Resource"]} == {(group, ""), (group, ":*")}
    assert "data-capture" not in json.dumps(statements)


def test_the_record_is_found_by_an_output_of_the_workflow(workflow: Template) -> None:
    assert workflow.named("AWS::Lambda::Function", "FilterConfidence")["Environment"]["Variables"]["ENDPOINT_KIND"]
    (logs,) = [name for name in workflow.resources("AWS::Logs::LogGroup") if name.startswith("FilterConfidenceLogs")]
    assert workflow.content["Outputs"]["PredictionLog"]["Value"] == {"Ref": logs}


def test_an_endpoint_that_costs_nothing_while_idle_has_no_idle_alarm(variants: Path) -> None:
    monitoring = template_of(variants, "serverless", "Monitoring")
    names = {alarm["AlarmName"] for alarm in monitoring.resources("AWS::CloudWatch::Alarm").values()}
    assert "scones-serverless-drift" in names
    assert "scones-serverless-idle-endpoint" not in names
