"""Alarms on which an operator must act. docs/runbook.md has a section for each, under the alarm's name."""

from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from lambda_src.shared import metrics as published
from stacks.config import EnvironmentConfig
from stacks.monitoring.metrics import Metrics
from stacks.shared.prices import instance_hour, price_list

# With fewer images, neither a share of them nor the absence of captures is meaningful
MIN_IMAGES = 20

_HOUR = Duration.hours(1)
_NO_DATA_IS_FINE = cloudwatch.TreatMissingData.NOT_BREACHING
_NO_DATA_IS_NO_NEWS = cloudwatch.TreatMissingData.IGNORE

_UNDELIVERED = {
    "undelivered-releases": "The release log missed what the endpoint serves, or its hours started no pause or resume",
    "undelivered-events": "Uploads or schedules did not start the classification workflow",
    "undelivered-retraining": "Drift, new data or the schedule did not start retraining",
    "undelivered-bulk": "The schedule did not start a bulk run",
}


@dataclass(frozen=True, kw_only=True)
class AlarmRule:
    """An alarm goes off when its metric exceeds the threshold in `datapoints` of the last `periods` periods."""

    name: str
    meaning: str
    metric: cloudwatch.IMetric
    threshold: float
    periods: int = 1
    datapoints: int = 1
    comparison: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
    missing_data: cloudwatch.TreatMissingData = _NO_DATA_IS_FINE


def alarm_rules(metrics: Metrics, *, config: EnvironmentConfig) -> list[AlarmRule]:
    """One rule per alarm, in the order of the runbook."""
    window_hours, drift_bound = config.monitoring.drift_window_hours, config.monitoring.drift_bound
    return [
        AlarmRule(
            name="failed-executions",
            meaning="Executions of the classification workflow failed, and not because of low confidence.",
            metric=metrics.execution_failures,
            threshold=0,
        ),
        AlarmRule(
            name="endpoint-errors",
            meaning="The endpoint keeps returning 5xx.",
            metric=metrics.endpoint("Invocation5XXErrors", statistic="Sum"),
            threshold=0,
            # An error that a retry of the workflow recovers needs no action
            periods=3,
            datapoints=2,
        ),
        AlarmRule(
            name="model-latency",
            meaning=f"The model takes longer than {config.monitoring.p99_latency_ms} ms for 1 of 100 images.",
            metric=metrics.endpoint("ModelLatency", statistic="p99"),
            threshold=config.monitoring.p99_latency_ms * 1000,  # microseconds
            periods=3,
            datapoints=3,
        ),
        AlarmRule(
            name="interrupted-executions",
            meaning="A retraining, bulk or pause execution was aborted or timed out before it could notify anyone.",
            metric=metrics.interrupted_executions(),
            threshold=0,
        ),
        *_undelivered(metrics),
        AlarmRule(
            name="rejected-share",
            meaning=f"More than {config.monitoring.rejected_percent:g} % of the images of an hour were rejected.",
            metric=metrics.rejected_percent(at_least=MIN_IMAGES, period=_HOUR),
            threshold=config.monitoring.rejected_percent,
        ),
        AlarmRule(
            name="drift",
            meaning=f"Predictions of the last {window_hours} h differ from the baseline: PSI {drift_bound:g} or more.",
            metric=metrics.published(published.DRIFT_SCORE, statistic="Maximum", period=_HOUR),
            threshold=drift_bound,
            comparison=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            # Without enough requests for a verdict, the last verdict stands
            missing_data=_NO_DATA_IS_NO_NEWS,
        ),
        *([_capture_silent(metrics)] if config.endpoint.captures else []),
        AlarmRule(
            name="drift-monitor-failing",
            meaning="The drift monitor failed twice in a row: drift is not being monitored.",
            metric=metrics.drift_monitor_errors,
            threshold=0,
            periods=2,
            datapoints=2,
        ),
        *_idle_endpoint(metrics, config),
    ]


def _undelivered(metrics: Metrics) -> list[AlarmRule]:
    return [
        AlarmRule(
            name=name,
            meaning=f"{_UNDELIVERED[name]}; the events wait in a dead-letter queue.",
            metric=metric,
            threshold=0,
            # An idle queue stops publishing metrics, but keeps its messages
            missing_data=_NO_DATA_IS_NO_NEWS,
        )
        for name, metric in metrics.undelivered.items()
    ]


def _idle_endpoint(metrics: Metrics, config: EnvironmentConfig) -> list[AlarmRule]:
    """For an endpoint with instances, which are billed whether or not there are requests."""
    endpoint, hours = config.endpoint, config.monitoring.idle_hours
    if endpoint.kind == "serverless" or hours is None:
        return []
    price = instance_hour(endpoint.instance_type)
    prices = price_list()
    cost = (
        f"{24 * endpoint.instance_count * price:.2f} USD a day ({prices['region']}, {prices['date']})"
        if price
        else "a price that the price list does not have"
    )
    return [
        AlarmRule(
            name="idle-endpoint",
            meaning=f"The endpoint has had no request for {hours} h; its {endpoint.instance_count} x "
            f"{endpoint.instance_type} cost {cost}.",
            metric=metrics.endpoint_is_idle(),
            threshold=0,
            periods=hours,
            datapoints=hours,
        )
    ]


def _capture_silent(metrics: Metrics) -> AlarmRule:
    return AlarmRule(
        name="capture-silent",
        meaning="For two hours the endpoint has had requests, but nothing was captured.",
        metric=metrics.capture_is_silent(at_least=MIN_IMAGES),
        threshold=0,
        # Captures are written some minutes after the request, perhaps in the next hour
        periods=2,
        datapoints=2,
    )


def create_alarms(
    scope: Construct, *, rules: list[AlarmRule], config: EnvironmentConfig, alert_topic: sns.ITopic
) -> list[cloudwatch.Alarm]:
    """Create an alarm `<stage>-<name>` for each rule, which notifies the topic and links to its runbook section."""
    alarms = []
    for rule in rules:
        alarm = cloudwatch.Alarm(
            scope,
            "".join(word.capitalize() for word in rule.name.split("-")),
            alarm_name=f"{config.stage_name}-{rule.name}",
            alarm_description=f"{rule.meaning} What to do: {config.monitoring.runbook_url}#{rule.name}",
            metric=rule.metric,
            threshold=rule.threshold,
            comparison_operator=rule.comparison,
            evaluation_periods=rule.periods,
            datapoints_to_alarm=rule.datapoints,
            treat_missing_data=rule.missing_data,
        )
        alarm.add_alarm_action(actions.SnsAction(alert_topic))
        alarms.append(alarm)
    return alarms
