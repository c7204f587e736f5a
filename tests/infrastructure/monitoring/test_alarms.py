"""The meaning of the alarms: each goes off for its own condition, and for no other."""

import fnmatch
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.services import cloudwatch

from local import alarms
from stacks.config import PROJECT_ROOT, load_environment
from tests.infrastructure.conftest import Template, text

UNCHANGED = "UNCHANGED"
DRIFT_BOUND = 0.25
NAMES = [
    "failed-executions",
    "endpoint-errors",
    "model-latency",
    "interrupted-executions",
    "undelivered-releases",
    "undelivered-events",
    "undelivered-retraining",
    "undelivered-bulk",
    "rejected-share",
    "drift",
    "capture-silent",
    "drift-monitor-failing",
    "idle-endpoint",
]
# No schedule in cdk.json starts a bulk run
DEPLOYED = [name for name in NAMES if name != "undelivered-bulk"]


def alarm(monitoring: Template, environment: str, name: str) -> dict[str, Any]:
    """The alarm with references as text and in the state of an alarm that nothing is known about."""

    def resolved(value: Any) -> Any:
        if isinstance(value, list):
            return [resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if set(value) <= {"Ref", "Fn::GetAtt", "Fn::ImportValue", "Fn::Join"}:
            return text(value)
        return {key: resolved(item) for key, item in value.items()}

    (properties,) = [
        properties
        for properties in monitoring.resources("AWS::CloudWatch::Alarm").values()
        if properties["AlarmName"] == f"scones-{environment}-{name}"
    ]
    resolved_alarm: dict[str, Any] = resolved(properties)
    return {**resolved_alarm, "StateValue": UNCHANGED}


@pytest.fixture(autouse=True)
def _no_metrics() -> Iterator[None]:
    cloudwatch.reset()
    yield
    cloudwatch.reset()


def state(alarm: dict[str, Any], metrics: dict[str, list[float | None]]) -> str:
    """The alarm's state for these values of its metrics, by period, the newest first."""
    now = time.time()
    watched = [query["MetricStat"] for query in alarm.get("Metrics", []) if "MetricStat" in query] or [
        {"Metric": alarm, "Period": alarm["Period"]}
    ]
    assert set(metrics) <= {statistic["Metric"]["MetricName"] for statistic in watched}
    for statistic in watched:
        metric = statistic["Metric"]
        dimensions = cloudwatch._dims_from_list(metric.get("Dimensions", []))
        for index, value in enumerate(metrics.get(metric["MetricName"], [])):
            if value is not None:
                cloudwatch._store_datum(
                    metric["Namespace"],
                    metric["MetricName"],
                    dimensions,
                    now - (index + 0.5) * statistic["Period"],
                    "None",
                    value,
                    None,
                    None,
                    None,
                )
    return alarms.state_of(alarm, alarms.values_of(alarm, now=now))


@pytest.mark.parametrize(
    ("name", "metrics", "expected"),
    [
        ("failed-executions", {}, "OK"),
        ("failed-executions", {"ExecutionFailures": [0]}, "OK"),
        ("failed-executions", {"ExecutionFailures": [1]}, "ALARM"),
        ("endpoint-errors", {}, "OK"),
        ("endpoint-errors", {"Invocation5XXErrors": [4, 0, 0]}, "OK"),
        ("endpoint-errors", {"Invocation5XXErrors": [1, 1]}, "ALARM"),
        ("endpoint-errors", {"Invocation5XXErrors": [1, None, 1]}, "ALARM"),
        # Instances that ran for 72 hours without a request; a new endpoint; an endpoint that was paused in between
        ("idle-endpoint", {}, "OK"),
        ("idle-endpoint", {"CPUUtilization": [60] * 72}, "ALARM"),
        ("idle-endpoint", {"CPUUtilization": [60] * 72, "Invocations": [None] * 71 + [1]}, "OK"),
        ("idle-endpoint", {"CPUUtilization": [60] * 10}, "OK"),
        ("idle-endpoint", {"CPUUtilization": [60] * 10 + [None] * 14 + [60] * 48}, "OK"),
        ("model-latency", {}, "OK"),
        ("model-latency", {"ModelLatency": [199_000] * 3}, "OK"),
        ("model-latency", {"ModelLatency": [201_000, 201_000, 150_000]}, "OK"),
        ("model-latency", {"ModelLatency": [201_000] * 3}, "ALARM"),
        ("undelivered-events", {}, UNCHANGED),
        ("undelivered-events", {"ApproximateNumberOfMessagesVisible": [0]}, "OK"),
        ("undelivered-events", {"ApproximateNumberOfMessagesVisible": [1]}, "ALARM"),
        ("undelivered-releases", {"ApproximateNumberOfMessagesVisible": [1]}, "ALARM"),
        ("undelivered-retraining", {"ApproximateNumberOfMessagesVisible": [1]}, "ALARM"),
        ("interrupted-executions", {}, "OK"),
        ("interrupted-executions", {"ExecutionsAborted": [1]}, "ALARM"),
        ("interrupted-executions", {"ExecutionsTimedOut": [1]}, "ALARM"),
        ("interrupted-executions", {"ExecutionsTimedOut": [0], "ExecutionsAborted": [0, 1]}, "OK"),
        ("rejected-share", {}, "OK"),
        ("rejected-share", {"ImagesAccepted": [0], "ImagesRejected": [19]}, "OK"),
        ("rejected-share", {"ImagesAccepted": [50], "ImagesRejected": [50]}, "OK"),
        ("rejected-share", {"ImagesAccepted": [49], "ImagesRejected": [51]}, "ALARM"),
        ("drift", {}, UNCHANGED),
        ("drift", {"DriftScore": [DRIFT_BOUND - 0.01]}, "OK"),
        ("drift", {"DriftScore": [DRIFT_BOUND]}, "ALARM"),
        ("capture-silent", {}, "OK"),
        ("capture-silent", {"Invocations": [100, 100], "CapturedRequests": [1, 1]}, "OK"),
        ("capture-silent", {"Invocations": [100, 100], "CapturedRequests": [0, 1]}, "OK"),
        ("capture-silent", {"Invocations": [19, 19], "CapturedRequests": [0, 0]}, "OK"),
        ("capture-silent", {"Invocations": [100, 100], "CapturedRequests": [0, 0]}, "ALARM"),
        # Not before the drift monitor's first run
        ("capture-silent", {"Invocations": [100, 100]}, "OK"),
        ("drift-monitor-failing", {}, "OK"),
        ("drift-monitor-failing", {"Errors": [1, 0]}, "OK"),
        ("drift-monitor-failing", {"Errors": [1, 1]}, "ALARM"),
    ],
)
def test_an_alarm_goes_off_for_its_condition(
    monitoring: Template, environment: str, name: str, metrics: dict[str, list[float | None]], expected: str
) -> None:
    assert state(alarm(monitoring, environment, name), metrics) == expected


def test_these_are_all_alarms(monitoring: Template, environment: str) -> None:
    names = [properties["AlarmName"] for properties in monitoring.resources("AWS::CloudWatch::Alarm").values()]
    assert sorted(names) == sorted(f"scones-{environment}-{name}" for name in DEPLOYED)


def test_the_idle_alarm_gives_the_cost_of_a_day(monitoring: Template, environment: str) -> None:
    found = alarm(monitoring, environment, "idle-endpoint")
    count = load_environment(environment).endpoint.instance_count
    assert f"its {count} x ml.m5.large cost {count * 2.76:.2f} USD a day (us-east-1, " in found["AlarmDescription"]
    assert found["EvaluationPeriods"] * found["Metrics"][1]["MetricStat"]["Period"] <= 7 * 24 * 3600


def test_the_runbook_has_a_section_for_each_alarm() -> None:
    runbook = (PROJECT_ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", runbook, flags=re.MULTILINE)[1:]
    by_heading = {section.splitlines()[0]: section for section in sections}
    assert [heading for heading in by_heading if heading in NAMES] == NAMES
    for name in NAMES:
        for part in ("**What it means.**", "**How to diagnose it.**", "**What to do.**"):
            assert part in by_heading[name], f"{name}: {part}"


@pytest.mark.parametrize("name", DEPLOYED)
def test_an_alarm_notifies_the_operators_and_links_to_its_section_of_the_runbook(
    monitoring: Template, environment: str, name: str
) -> None:
    found = alarm(monitoring, environment, name)
    (action,) = found["AlarmActions"]
    assert action.startswith("<")
    assert "AlertTopic" in action
    assert found.get("ActionsEnabled", True) is True
    assert found["AlarmDescription"].endswith(f"docs/runbook.md#{name}")
    assert found["TreatMissingData"] in {"notBreaching", "ignore"}


def test_latency_is_bounded_in_the_metrics_unit_and_for_this_endpoint(monitoring: Template, environment: str) -> None:
    found = alarm(monitoring, environment, "model-latency")
    assert found["Threshold"] == load_environment(environment).monitoring.p99_latency_ms * 1000
    assert found["ExtendedStatistic"] == "p99"
    assert {d["Name"]: d["Value"] for d in found["Dimensions"]} == {
        "EndpointName": f"scones-{environment}",
        "VariantName": "AllTraffic",
    }


@pytest.mark.parametrize("name", DEPLOYED)
def test_no_alarm_subtracts_metrics_of_two_sources(monitoring: Template, environment: str, name: str) -> None:
    """One event may count in two periods, and the difference of the two metrics then goes off for nothing."""
    expressions = [query.get("Expression", "") for query in alarm(monitoring, environment, name).get("Metrics", [])]
    assert not any(" - " in expression for expression in expressions)


def counted(monitoring: Template, event: dict[str, Any]) -> set[str]:
    """The metrics in which an event of the state machine's log counts.

    By https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html, as far as the patterns go.
    """

    def holds(term: re.Match[str]) -> str:
        value: Any = event
        for name in term["path"].split("."):
            value = value.get(name, {})
        if not isinstance(value, str):  # a condition on a missing member is not met
            return "0"
        return str(int(fnmatch.fnmatchcase(value, term["value"]) == (term["operator"] == "=")))

    found = set()
    for properties in monitoring.resources("AWS::Logs::MetricFilter").values():
        condition = re.sub(
            r'\$\.(?P<path>[\w.]+) (?P<operator>!?=) "(?P<value>[^"]*)"',
            holds,
            properties["FilterPattern"].strip("{} "),
        )
        if alarms.calculate(condition.replace("&&", "AND").replace("||", "OR"), {}):
            found |= {transformation["MetricName"] for transformation in properties["MetricTransformations"]}
    return found


def test_executions_are_distinguished_by_their_terminal_state(monitoring: Template, definition: dict[str, Any]) -> None:
    states = {**definition["States"], **definition["States"]["ClassifyImages"]["ItemProcessor"]["States"]}
    ends = [name for name, state in states.items() if state["Type"] == "Fail"]
    assert {"InferencesRejected", "InferencesFailed", "WorkflowBroken"} < set(ends)
    for name in ends:
        expected = "ExecutionsRejected" if name == "InferencesRejected" else "ExecutionFailures"
        assert counted(monitoring, {"type": "FailStateEntered", "details": {"name": name}}) == {expected}
    assert states["Failed"]["Type"] == "Pass"
    assert counted(monitoring, {"type": "PassStateEntered", "details": {"name": "Failed"}}) == {"ImagesFailed"}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "ExecutionTimedOut"}, {"ExecutionFailures"}),
        ({"type": "EvaluationFailed", "details": {"state": "AllAccepted?"}}, {"ExecutionFailures"}),
        ({"type": "ExecutionFailed", "details": {"error": "States.DataLimitExceeded"}}, {"ExecutionFailures"}),
        ({"type": "ExecutionFailed", "details": {"error": "InferencesRejected"}}, set()),
        ({"type": "ExecutionFailed"}, set()),  # the log does not name the error
        ({"type": "ExecutionSucceeded"}, set()),
        ({"type": "TaskFailed", "details": {"error": "States.Timeout"}}, set()),
    ],
)
def test_executions_that_end_without_a_fail_state_count_as_failed(
    monitoring: Template, event: dict[str, Any], expected: set[str]
) -> None:
    assert counted(monitoring, event) == expected


def test_the_log_contains_every_state(monitoring: Template, workflow: Template) -> None:
    logging = workflow.only("AWS::StepFunctions::StateMachine")["LoggingConfiguration"]
    assert logging["Level"] == "ALL"
    for properties in monitoring.resources("AWS::Logs::MetricFilter").values():
        assert "ClassificationWorkflowLogs" in json.dumps(properties["LogGroupName"])
