import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lambda_src.shared import metrics as published
from stacks.config import load_environment
from tests.conftest import LONGEST_NAME
from tests.infrastructure.conftest import Template, template_of, text


@dataclass(frozen=True)
class Widget:
    title: str
    names: list[str]  # of all metrics and expressions
    content: dict[str, Any]


@pytest.fixture(scope="session")
def widgets(monitoring: Template) -> dict[str, Widget]:
    """The dashboard's widgets by title."""
    body = json.loads(text(monitoring.only("AWS::CloudWatch::Dashboard")["DashboardBody"]))
    found = {}
    for widget in body["widgets"]:
        properties = widget["properties"]
        names = [
            entry[1] if len(entry) > 1 else entry[0]["expression"] for entry in properties.get("metrics", []) if entry
        ]
        found[properties["title"]] = Widget(properties["title"], names, widget)
    return found


def test_the_dashboard_shows_what_the_environment_does(widgets: dict[str, Widget]) -> None:
    shown = {title: set(widget.names) for title, widget in widgets.items()}
    assert {"ExecutionsSucceeded", "ExecutionsRejected", "ExecutionFailures"} <= shown["Executions by outcome"]
    assert shown["Images by outcome"] == {"ImagesAccepted", "ImagesRejected", "ImagesFailed"}
    assert shown["Undelivered events"] == {"ApproximateNumberOfMessagesVisible"}
    assert shown["Endpoint invocations"] == {"Invocations"}
    assert {"Invocation4XXErrors", "Invocation5XXErrors"} <= shown["Endpoint errors"]
    assert {"ModelLatency", "OverheadLatency"} <= shown["Endpoint latency"]
    assert shown["Function errors"] == {"Errors"}
    assert shown["Function duration, p99"] == {"Duration"}
    assert shown["Function throttles"] == {"Throttles"}
    assert shown["Drift from the baseline"] == {"DriftScore"}
    assert "UnderThreshold" in shown["Predictions under the threshold"]
    assert {"CorrectAnswers", "LabelledAnswers"} <= shown["Accuracy where labels are known"]
    assert {"ExecutionsStarted", "Invocations", "CapturedRequests"} <= shown["What costs money, by day"]


def test_every_metric_that_the_functions_publish_is_shown(widgets: dict[str, Widget]) -> None:
    names = {metric.name for metric in vars(published).values() if isinstance(metric, published.Metric)}
    everything = json.dumps([widget.content for widget in widgets.values()])
    assert {name for name in names if name not in everything} == set()


def test_latencies_are_shown_in_milliseconds(widgets: dict[str, Widget]) -> None:
    properties = widgets["Endpoint latency"].content["properties"]
    assert properties["yAxis"]["left"]["label"] == "milliseconds"
    expressions = [entry[0]["expression"] for entry in properties["metrics"] if isinstance(entry[0], dict)]
    assert len(expressions) == 3
    assert all(expression.endswith(" / 1000") for expression in expressions)
    hidden = [entry[-1] for entry in properties["metrics"] if not isinstance(entry[0], dict)]
    assert all(options["visible"] is False for options in hidden)


def test_bounds_are_drawn_where_alarms_have_theirs(widgets: dict[str, Widget], environment: str) -> None:
    config = load_environment(environment)

    def bounds(title: str) -> list[float]:
        return [line["value"] for line in widgets[title].content["properties"]["annotations"]["horizontal"]]

    assert bounds("Endpoint latency") == [config.monitoring.p99_latency_ms]
    assert bounds("Drift from the baseline") == [0.25, 0.1]
    assert bounds("Predictions under the threshold") == [config.monitoring.rejected_percent]
    assert bounds("Confidence") == [config.confidence_threshold]


def test_the_alarms_are_on_top_of_the_dashboard(widgets: dict[str, Widget], monitoring: Template) -> None:
    (widget,) = [widget for widget in widgets.values() if widget.content["type"] == "alarm"]
    assert widget.content["y"] == 0
    assert len(widget.content["properties"]["alarms"]) == len(monitoring.resources("AWS::CloudWatch::Alarm"))


def test_every_function_of_the_workflow_is_watched(widgets: dict[str, Widget]) -> None:
    metrics = widgets["Function errors"].content["properties"]["metrics"]
    assert [entry[-1]["label"] for entry in metrics] == [
        "SerializeImageData",
        "Classifier",
        "FilterConfidence",
        "DriftMonitor",
        "ModelAccuracy",
    ]


def grants(monitoring: Template, role: str) -> dict[str, set[str]]:
    """Resources by action, without logs and traces."""
    found: dict[str, set[str]] = {}
    for statement in monitoring.statements(role):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for action in actions:
            if not action.startswith(("logs:", "xray:")):
                found.setdefault(action, set()).update(text(resource).partition(">/")[2] for resource in resources)
    return found


def test_the_drift_monitor_reads_captures_and_baselines_and_writes_its_reports(
    monitoring: Template, environment: str
) -> None:
    captures = f"data-capture/scones-{environment}/*"
    found = grants(monitoring, "DriftMonitorRole")
    assert set(found) == {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "ssm:GetParameter"}
    assert found["s3:GetObject"] == {captures, "models/*/baseline.json"}
    assert found["s3:PutObject"] == {"monitoring/drift/*"}
    assert listed(monitoring, "DriftMonitorRole") == {captures}
    (parameter,) = [s for s in monitoring.statements("DriftMonitorRole") if s["Action"] == "ssm:GetParameter"]
    assert text(parameter["Resource"]).endswith(f":parameter/scones/{environment}/model/baseline-key")


def listed(monitoring: Template, role: str) -> set[str]:
    """The prefixes that a role may list."""
    found = [s["Condition"] for s in monitoring.statements(role) if s["Action"] == "s3:ListBucket"]
    assert all(set(condition) == {"StringLike"} for condition in found)
    return {condition["StringLike"]["s3:prefix"] for condition in found}


def test_model_accuracy_reads_captures_and_labels_and_writes_its_reports(
    monitoring: Template, environment: str
) -> None:
    readable = {f"data-capture/scones-{environment}/*", "ground-truth/*"}
    found = grants(monitoring, "ModelAccuracyRole")
    assert set(found) == {"s3:ListBucket", "s3:GetObject", "s3:PutObject"}
    assert found["s3:GetObject"] == readable == listed(monitoring, "ModelAccuracyRole")
    assert found["s3:PutObject"] == {"monitoring/accuracy/*"}


def test_model_accuracys_windows_follow_each_other_without_a_gap(monitoring: Template, environment: str) -> None:
    schedule = monitoring.named("AWS::Scheduler::Schedule", "ModelAccuracySchedule")
    hours = monitoring.named("AWS::Lambda::Function", "ModelAccuracy")["Environment"]["Variables"][
        "ACCURACY_WINDOW_HOURS"
    ]
    assert schedule["ScheduleExpression"] == f"rate({hours} hours)"


def test_the_drift_monitor_runs_every_hour_over_the_configured_window(monitoring: Template, environment: str) -> None:
    schedule = monitoring.named("AWS::Scheduler::Schedule", "DriftMonitorSchedule")
    assert (schedule["ScheduleExpression"], schedule["State"]) == ("rate(1 hour)", "ENABLED")
    assert json.loads(schedule["Target"]["Input"]) == {"time": "<aws.scheduler.scheduled-time>"}
    function = monitoring.named("AWS::Lambda::Function", "DriftMonitor")
    assert function["Timeout"] == 900
    variables = function["Environment"]["Variables"]
    config = load_environment(environment)
    assert variables["DRIFT_WINDOW_HOURS"] == str(config.monitoring.drift_window_hours)
    assert variables["DRIFT_BOUND"] == str(config.monitoring.drift_bound)
    assert variables["METRIC_NAMESPACE"] == f"SconesUnlimited/{environment}"
    assert variables["BASELINE_PARAMETER"] == config.baseline_parameter


def test_a_monthly_limit_is_a_budget_of_the_environment_s_tag_that_may_tell_the_topic(
    variants: Path, monitoring: Template
) -> None:
    assert not monitoring.resources("AWS::Budgets::Budget")  # without a configured limit
    limited = template_of(variants, LONGEST_NAME, "Monitoring").only("AWS::Budgets::Budget")
    budget = limited["Budget"]
    assert budget["BudgetLimit"] == {"Amount": 100, "Unit": "USD"}
    assert budget["TimeUnit"] == "MONTHLY"
    assert budget["CostFilters"] == {"TagKeyValue": [f"user:environment${LONGEST_NAME}"]}
    told = [
        (each["Notification"]["NotificationType"], each["Notification"]["Threshold"])
        for each in limited["NotificationsWithSubscribers"]
    ]
    assert told == [("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)]
    (subscriber,) = {
        json.dumps(subscriber) for each in limited["NotificationsWithSubscribers"] for subscriber in each["Subscribers"]
    }
    assert json.loads(subscriber)["SubscriptionType"] == "SNS"
    data = template_of(variants, LONGEST_NAME, "Data")
    for kind, document, action in (
        ("AWS::SNS::TopicPolicy", "PolicyDocument", "sns:Publish"),
        ("AWS::KMS::Key", "KeyPolicy", "kms:GenerateDataKey*"),
    ):
        statements = data.only(kind)[document]["Statement"]
        (budgets,) = [s for s in statements if s["Principal"] == {"Service": "budgets.amazonaws.com"}]
        assert action in budgets["Action"]
        assert budgets["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        assert text(budgets["Condition"]["ArnLike"]["aws:SourceArn"]).endswith(":budgets::<AWS::AccountId>:*")
