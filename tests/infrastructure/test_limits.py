"""Time-outs add up at every level, and nothing exceeds its limit."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ministack.services import stepfunctions

from scanners.policies import ACCOUNT, Environment
from stacks.classification.limits import MAX_IMAGES
from stacks.config import (
    FUNCTIONS_UNDER_LOAD,
    MAX_RESERVED_CONCURRENCY,
    load_environment,
    parse_environment,
)
from stacks.retraining.training_job import longest_job_minutes
from tests.conftest import LONGEST_NAME
from tests.infrastructure.conftest import VARIANTS, Template, definition_of, template_of

STEPS = ("SerializeImageData", "Classifier", "FilterConfidence")


def attempts_and_waits(state: dict[str, Any]) -> tuple[int, float]:
    """The most attempts of a state, and the seconds that it waits between them, if each retrier is used up."""
    waits = [
        retrier["IntervalSeconds"] * retrier["BackoffRate"] ** attempt
        for retrier in state["Retry"]
        for attempt in range(retrier["MaxAttempts"])
    ]
    return 1 + len(waits), sum(waits)


def test_function_state_and_execution_time_out_in_this_order(
    workflow: Template, definition: dict[str, Any], environment: str
) -> None:
    states = definition["States"]["ClassifyImages"]["ItemProcessor"]["States"]
    image_seconds = 0.0
    for step in STEPS:
        assert workflow.named("AWS::Lambda::Function", step)["Timeout"] < states[step]["TimeoutSeconds"]
        attempts, waits = attempts_and_waits(states[step])
        image_seconds += attempts * states[step]["TimeoutSeconds"] + waits
    rounds = math.ceil(MAX_IMAGES / load_environment(environment).map_concurrency)
    assert definition["TimeoutSeconds"] >= rounds * image_seconds + 3600 - 1


def test_every_task_has_a_time_out_and_every_retry_an_end(definition: dict[str, Any]) -> None:
    def tasks(states: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        inner = [
            found for s in states.values() if "ItemProcessor" in s for found in tasks(s["ItemProcessor"]["States"])
        ]
        return [(name, state) for name, state in states.items() if state["Type"] == "Task"] + inner

    found = tasks(definition["States"])
    assert len(found) >= 7
    for name, state in found:
        assert 0 < state["TimeoutSeconds"] <= 60, name
        for retrier in state["Retry"]:
            assert retrier["MaxAttempts"] <= 3, name
            assert "States.ALL" not in retrier["ErrorEquals"], name


def states_of(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Name, state and whether it runs in an Express child, of every state at every level."""

    def walk(states: dict[str, Any], *, is_express: bool) -> Iterator[tuple[str, dict[str, Any], bool]]:
        for name, state in states.items():
            yield name, state, is_express
            processor = state.get("ItemProcessor", {"States": {}})
            child = processor.get("ProcessorConfig", {}).get("ExecutionType") == "EXPRESS"
            yield from walk(processor["States"], is_express=is_express or child)
            for branch in state.get("Branches", []):
                yield from walk(branch["States"], is_express=is_express)

    return walk(definition["States"], is_express=False)


def first_retrier(state: dict[str, Any], error: str) -> dict[str, Any]:
    """The one that Step Functions takes for the error."""
    return next(retrier for retrier in state["Retry"] if error in retrier["ErrorEquals"])


def test_a_throttled_invocation_waits_for_a_minute_until_others_have_finished(
    definitions: list[dict[str, Any]],
) -> None:
    invocations = [
        (name, state)
        for definition in definitions
        for name, state, is_express in states_of(definition)
        if state.get("Resource", "").endswith(":lambda:invoke") and not is_express
    ]
    assert len(invocations) >= 10
    for name, state in invocations:
        retrier = first_retrier(state, "Lambda.TooManyRequestsException")
        assert retrier["ErrorEquals"] == ["Lambda.TooManyRequestsException"], name
        _, waits = attempts_and_waits({"Retry": [retrier]})
        assert waits / 2 >= 60, name  # with full jitter, a wait is half as long on average
        assert first_retrier(state, "Lambda.ClientExecutionTimeoutException"), name


HISTORY_LIMIT = 25_000  # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html


def test_the_longest_list_fits_into_a_history_when_each_step_uses_a_retrier_up(definition: dict[str, Any]) -> None:
    """Two events of an iteration and of each state, three of each attempt; a step that meets one kind of trouble."""
    steps = definition["States"]["ClassifyImages"]["ItemProcessor"]["States"]
    tasks = [state for state in steps.values() if state["Type"] == "Task"]
    attempts = sum(1 + max(retrier["MaxAttempts"] for retrier in task["Retry"]) for task in tasks)
    of_an_image = 2 + 2 * len(tasks) + 3 * attempts + 2  # the last two are of Failed or Rejected
    assert MAX_IMAGES * of_an_image <= HISTORY_LIMIT - 100


def events_of_attempt(task: dict[str, Any]) -> int:
    """Scheduled, started and ended; submitted too where the state waits for the job.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
    """
    return 4 if task["Resource"].endswith(".sync") else 3


def events_of(state: dict[str, Any]) -> int:
    """Entered and exited, and one attempt of a task; 16 of a Parallel state with two jobs."""
    if state["Type"] == "Task":
        return 2 + events_of_attempt(state)
    return {"Choice": 2, "Wait": 2, "Pass": 2}.get(state["Type"], 16)


def loops(states: dict[str, Any], wait: str) -> list[list[str]]:
    """Every way from a Wait state back to it, without failures."""

    def followers(name: str) -> list[str]:
        state = states[name]
        return [
            holder[key] for holder in (state, *state.get("Choices", [])) for key in ("Next", "Default") if key in holder
        ]

    found, open_ = [], [[wait]]
    while open_:
        path = open_.pop()
        for name in followers(path[-1]):
            if name == wait:
                found.append(path)
            elif name not in path:
                open_.append([*path, name])
    return found


def test_the_longest_retraining_run_fits_into_a_history(variants: Path) -> None:
    """Where everything that can be waited for takes as long as it may."""
    config = parse_environment(LONGEST_NAME, VARIANTS[LONGEST_NAME])
    retraining = template_of(variants, LONGEST_NAME, "Retraining")
    definition = definition_of(retraining.only("AWS::StepFunctions::StateMachine"))
    states = definition["States"]
    hour = 3600
    longest = {
        "WaitForTraining": longest_job_minutes(config) * 60,
        "WaitForApproval": config.retraining.approval_hours * hour,
        # SageMaker's limit (MaximumExecutionTimeoutInSeconds), for the release and for its rollback
        "WaitForEndpoint": 2 * 8 * hour,
    }
    assert longest["WaitForTraining"] > 5 * 24 * hour
    assert {name for name, state in states.items() if state["Type"] == "Wait"} == set(longest)
    events = sum(map(events_of, states.values()))
    for name, state in states.items():
        retriers = [retrier for retrier in state.get("Retry", []) if retrier["MaxAttempts"] > 3]
        events += sum(events_of_attempt(state) * retrier["MaxAttempts"] for retrier in retriers)
        if name in longest:
            (path,) = loops(states, name)
            events += math.ceil(longest[name] / state["Seconds"]) * sum(events_of(states[step]) for step in path)
    assert events <= HISTORY_LIMIT - 5000  # the rest is for polls that fail and are retried


def test_no_image_outlasts_the_express_execution_that_it_runs_in(definitions: list[dict[str, Any]]) -> None:
    assert check_batches_end_in_time(definitions) == 6


def check_batches_end_in_time(definitions: list[dict[str, Any]]) -> int:
    """How many kinds of batch there are. If an image outlasted its execution, its outcome would be lost with those of
    the whole batch, and images that are stored would count as failed.
    """
    batches = [
        state["ItemProcessor"]
        for definition in definitions
        for state in definition["States"].values()
        if state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("ExecutionType") == "EXPRESS"
    ]
    for batch in batches:
        first = batch["States"][batch["StartAt"]]
        start_within = re.fullmatch(r"{% \$millis\(\) \+ (\d+) %}", first["Assign"]["start_until"])
        assert start_within
        (images,) = [state["ItemProcessor"] for state in batch["States"].values() if state["Type"] == "Map"]
        gate = images["States"][images["StartAt"]]
        assert gate["Choices"][0]["Condition"] == "{% $millis() < $start_until %}"
        longest = 0.0
        for state in images["States"].values():
            if state["Type"] == "Task":
                attempts, waits = attempts_and_waits(state)
                longest += attempts * state["TimeoutSeconds"] + waits
        assert longest > 0
        assert int(start_within[1]) / 1000 + longest < 300 - 5
    return len(batches)


def test_an_image_without_time_left_ends_as_failed_with_that_reason(definitions: list[dict[str, Any]]) -> None:
    outcomes = [state["Output"] for d in definitions for name, state, _ in states_of(d) if name.startswith("OutOfTime")]
    assert len(outcomes) == 6
    for outcome in outcomes:
        assert stepfunctions._apply_jsonata_template(outcome, {"s3_bucket": "b", "s3_key": "k", "image_data": ""}) == {
            "outcome": "FAILED",
            "s3_bucket": "b",
            "s3_key": "k",
            "error": "BatchOutOfTimeError",
            "cause": "not classified, because the images before it took too long: start the same input again",
        }


def test_an_environment_that_reserves_nothing_leaves_room_in_a_new_accounts_quota_of_ten() -> None:
    config = load_environment("dev")
    assert config.function_concurrency is None
    assert config.map_concurrency + config.bulk_concurrency < 10


def test_an_execution_classifies_a_bounded_number_at_a_time(definition: dict[str, Any], environment: str) -> None:
    assert definition["States"]["ClassifyImages"]["MaxConcurrency"] == load_environment(environment).map_concurrency


def test_an_event_is_retried_for_a_bounded_time_and_then_kept(workflow: Template) -> None:
    (target,) = workflow.named("AWS::Events::Rule", "ImageUploaded")["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 7200, "MaximumRetryAttempts": 8}
    assert "Arn" in target["DeadLetterConfig"]


def test_the_functions_of_an_image_have_bounded_concurrency_and_no_others_reserve_any(
    assembly: Path, environment: str
) -> None:
    config = load_environment(environment)
    reserved = {
        logical_id[:-8]: resource["Properties"].get("ReservedConcurrentExecutions")
        for path in (assembly / f"assembly-{environment}").glob("*.template.json")
        for logical_id, resource in json.loads(path.read_text())["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    assert {name: value for name, value in reserved.items() if name in FUNCTIONS_UNDER_LOAD} == dict.fromkeys(
        FUNCTIONS_UNDER_LOAD, config.function_concurrency
    )
    assert sum(filter(None, reserved.values())) == config.reserved_concurrency <= MAX_RESERVED_CONCURRENCY


def test_every_log_is_kept_for_the_configured_time(assembly: Any, environment: str) -> None:
    groups = [
        resource["Properties"]
        for path in (assembly / f"assembly-{environment}").glob("*.template.json")
        for resource in json.loads(path.read_text())["Resources"].values()
        if resource["Type"] == "AWS::Logs::LogGroup"
    ]
    assert len(groups) >= 4
    for group in groups:
        assert group["RetentionInDays"] == load_environment(environment).log_retention_days


@pytest.mark.parametrize("kind", ["AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"])
def test_bucket_topic_and_queues_refuse_plain_http_and_strangers(assembly: Any, environment: str, kind: str) -> None:
    policies = [p for p in Environment(assembly, environment).resource_policies() if p.owner.startswith(kind)]
    assert policies
    for policy in policies:
        refused = [s for s in policy.statements if s["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in [statement["Condition"] for statement in refused]
        for statement in policy.statements:
            if statement["Effect"] == "Allow":  # only services, and only for this account's resources
                assert set(statement["Principal"]) == {"Service"}, policy.owner
                assert ACCOUNT in json.dumps(statement["Condition"]), policy.owner


def test_the_key_is_used_by_this_account_only(assembly: Any, environment: str) -> None:
    for policy in Environment(assembly, environment).resource_policies():
        if policy.owner.startswith("AWS::KMS::Key"):
            for statement in policy.statements:
                conditions = json.dumps(statement.get("Condition", statement["Principal"]))
                assert ACCOUNT in conditions, statement


# These services document no condition keys for assuming a role; both accept only roles of the caller's account
UNCONDITIONAL = {"lambda.amazonaws.com", "application-autoscaling.amazonaws.com"}


def test_a_service_assumes_a_role_for_this_account_only(assembly: Any, environment: str) -> None:
    services = set()
    for policy in Environment(assembly, environment).trust_policies():
        (statement,) = policy.statements
        service = statement["Principal"].get("Service")
        if service and service not in UNCONDITIONAL:
            sources = {key: value for test in statement["Condition"].values() for key, value in test.items()}
            assert sources["aws:SourceAccount"] == ACCOUNT, policy.owner
            assert sources["aws:SourceArn"].startswith(f"arn:aws:{service.partition('.')[0]}:us-east-1:{ACCOUNT}:")
            services.add(service)
    assert {"states.amazonaws.com", "events.amazonaws.com", "scheduler.amazonaws.com"} < services


def test_only_services_assume_roles_and_no_other_accounts(assembly: Any, environment: str) -> None:
    for policy in Environment(assembly, environment).trust_policies():
        for statement in policy.statements:
            assert set(statement["Principal"]) <= {"Service", "Federated"}, policy.owner
            if "Federated" in statement["Principal"]:
                assert ":sub" in json.dumps(statement["Condition"]), policy.owner
