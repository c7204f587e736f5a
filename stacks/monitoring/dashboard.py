"""The environment's dashboard."""

from collections.abc import Sequence

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from lambda_src.monitoring.drift import PSI_WATCH
from lambda_src.shared import metrics as published
from stacks.config import EnvironmentConfig
from stacks.monitoring.metrics import FIVE_MINUTES, Metrics

_COLUMNS = 24
_HOUR = Duration.hours(1)


def create_dashboard(
    scope: Construct, *, config: EnvironmentConfig, metrics: Metrics, alarms: Sequence[cloudwatch.IAlarm]
) -> cloudwatch.Dashboard:
    """A row each for the alarms, the workflow, the endpoint, the functions, the predictions and the cost."""
    return cloudwatch.Dashboard(
        scope,
        "Dashboard",
        dashboard_name=f"{config.stage_name}_{Aws.REGION}",  # an account has one of a name, whatever the region
        default_interval=Duration.days(1),
        widgets=[
            [
                cloudwatch.AlarmStatusWidget(
                    title=f"Alarms (what to do: {config.monitoring.runbook_url})",
                    alarms=list(alarms),
                    width=_COLUMNS,
                    height=3,
                )
            ],
            _workflow(metrics),
            _endpoint(metrics, config=config),
            _functions(metrics),
            _predictions(metrics, config=config),
            _cost(metrics),
        ],
    )


def _row(*graphs: cloudwatch.GraphWidget | cloudwatch.SingleValueWidget) -> list[cloudwatch.IWidget]:
    return list(graphs)


def _graph(
    title: str,
    *metrics: cloudwatch.IMetric,
    unit: str,
    columns: int,
    bounds: Sequence[tuple[float, str]] = (),
    stacked: bool = False,
    maximum: float | None = None,
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title,
        left=list(metrics),
        left_y_axis=cloudwatch.YAxisProps(label=unit, show_units=False, min=0, max=maximum),
        left_annotations=[
            cloudwatch.HorizontalAnnotation(value=value, label=label, color=cloudwatch.Color.RED)
            for value, label in bounds
        ],
        stacked=stacked,
        width=_COLUMNS // columns,
        height=6,
    )


def _workflow(metrics: Metrics) -> list[cloudwatch.IWidget]:
    executions = metrics.executions
    return _row(
        _graph(
            "Executions by outcome",
            _named(executions["succeeded"], "All accepted", cloudwatch.Color.GREEN),
            _named(metrics.executions_rejected, "Some rejected", cloudwatch.Color.ORANGE),
            _named(metrics.execution_failures, "Failed", cloudwatch.Color.RED),
            _named(executions["aborted"], "Aborted", cloudwatch.Color.GREY),
            unit="executions",
            columns=4,
        ),
        _graph(
            "Images by outcome",
            _named(metrics.published(published.IMAGES_ACCEPTED, statistic="Sum"), "Accepted", cloudwatch.Color.GREEN),
            _named(metrics.published(published.IMAGES_REJECTED, statistic="Sum"), "Rejected", cloudwatch.Color.ORANGE),
            _named(metrics.images_failed, "Failed", cloudwatch.Color.RED),
            unit="images",
            columns=4,
            stacked=True,
        ),
        _graph("Errors by name, retried ones too", metrics.image_errors(), unit="attempts", columns=4),
        _graph(
            "Undelivered events",
            *metrics.undelivered.values(),
            unit="messages",
            columns=4,
        ),
    )


def _endpoint(metrics: Metrics, *, config: EnvironmentConfig) -> list[cloudwatch.IWidget]:
    return _row(
        _graph("Endpoint invocations", metrics.endpoint("Invocations", statistic="Sum"), unit="requests", columns=3),
        _graph(
            "Endpoint errors",
            metrics.endpoint("Invocation4XXErrors", statistic="Sum"),
            metrics.endpoint("Invocation5XXErrors", statistic="Sum"),
            metrics.endpoint("InvocationModelErrors", statistic="Sum"),
            unit="requests",
            columns=3,
        ),
        _graph(
            "Endpoint latency",
            metrics.endpoint_milliseconds("ModelLatency", statistic="p50"),
            metrics.endpoint_milliseconds("ModelLatency", statistic="p99"),
            metrics.endpoint_milliseconds("OverheadLatency", statistic="p99"),
            unit="milliseconds",
            columns=3,
            bounds=[(config.monitoring.p99_latency_ms, "bound of the model's p99")],
        ),
    )


def _functions(metrics: Metrics) -> list[cloudwatch.IWidget]:
    def each(kind: str, statistic: str) -> list[cloudwatch.IMetric]:
        return [
            getattr(function, f"metric_{kind}")(statistic=statistic, period=FIVE_MINUTES, label=function.node.id)
            for function in metrics.functions
        ]

    return _row(
        _graph("Function errors", *each("errors", "Sum"), unit="invocations", columns=3),
        _graph("Function duration, p99", *each("duration", "p99"), unit="milliseconds", columns=3),
        _graph("Function throttles", *each("throttles", "Sum"), unit="invocations", columns=3),
    )


def _predictions(metrics: Metrics, *, config: EnvironmentConfig) -> list[cloudwatch.IWidget]:
    return _row(
        _graph(
            "Drift from the baseline",
            metrics.published(published.DRIFT_SCORE, statistic="Maximum", period=_HOUR),
            unit="population stability index",
            columns=4,
            bounds=[(config.monitoring.drift_bound, "drift"), (PSI_WATCH, "worth a look")],
        ),
        _graph(
            "Predictions under the threshold",
            metrics.published(published.UNDER_THRESHOLD, statistic="Average", period=_HOUR),
            metrics.rejected_percent(at_least=1, period=_HOUR),
            unit="percent",
            columns=4,
            bounds=[(config.monitoring.rejected_percent, "bound")],
            maximum=100,
        ),
        _graph(
            "Confidence",
            *(metrics.published(published.CONFIDENCE, statistic=statistic) for statistic in ("p5", "p50", "Average")),
            unit="probability",
            columns=4,
            bounds=[(config.confidence_threshold, "threshold")],
            maximum=1,
        ),
        _graph("Accuracy where labels are known", metrics.accuracy_percent(), unit="percent", columns=4, maximum=100),
    )


def _cost(metrics: Metrics) -> list[cloudwatch.IWidget]:
    """What AWS bills by number: executions, requests, invocations and captured requests, per day."""
    day = Duration.days(1)

    def total(metric: cloudwatch.Metric, label: str) -> cloudwatch.Metric:
        return metric.with_(statistic="Sum", period=day, label=label)

    invocations = [total(function.metric_invocations(), function.node.id) for function in metrics.functions]
    return _row(
        cloudwatch.SingleValueWidget(
            title="What costs money, by day",
            metrics=[
                total(metrics.executions["started"], "Executions"),
                total(metrics.endpoint("Invocations", statistic="Sum"), "Endpoint requests"),
                *invocations,
                total(metrics.published(published.CAPTURED_REQUESTS, statistic="Sum"), "Captured requests"),
            ],
            set_period_to_time_range=False,
            full_precision=True,
            width=_COLUMNS,
            height=3,
        )
    )


def _named(metric: cloudwatch.Metric, label: str, color: str) -> cloudwatch.Metric:
    return metric.with_(label=label, color=color)
