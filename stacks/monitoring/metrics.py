"""The metrics of the dashboard and the alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from lambda_src.shared import metrics as published
from stacks.config import VARIANT_NAME, EnvironmentConfig

FIVE_MINUTES = Duration.minutes(5)

# Executions that failed for a reason other than low confidence. A single metric from the log: subtracting the
# rejections from all failures would raise false alarms when the two, from different sources, fall into different
# periods. An execution that fails without a Fail state met an error of Step Functions itself, such as an expression
# without a value or a state over 256 KiB.
_FAILED = """{
  ($.type = "FailStateEntered" && $.details.name != "InferencesRejected")
  || $.type = "ExecutionTimedOut"
  || $.type = "EvaluationFailed"
  || ($.type = "ExecutionFailed" && $.details.error = "States.*")
}"""


@dataclass(frozen=True, kw_only=True)
class Monitored:
    """The resources of other stacks that are monitored.

    workflow: the classification workflow. prediction_log: name of the log group with its predictions. interruptible:
    the workflows that can be aborted or time out before they notify anyone. dead_letters: queues by name of the alarm.
    """

    functions: Sequence[lambda_.IFunction]
    prediction_log: str
    workflow: sfn.IStateMachine
    workflow_log_group: logs.ILogGroup
    interruptible: Sequence[sfn.IStateMachine]
    dead_letters: Mapping[str, sqs.IQueue]


class Metrics:
    """The metrics of one environment."""

    def __init__(
        self,
        scope: Construct,
        *,
        config: EnvironmentConfig,
        monitored: Monitored,
        functions: Sequence[lambda_.IFunction],
        drift_monitor: lambda_.IFunction,
    ) -> None:
        self._config = config
        self.functions = functions
        self.drift_monitor_errors = drift_monitor.metric_errors(statistic="Sum", period=Duration.hours(1))
        self.undelivered = {
            name: queue.metric_approximate_number_of_messages_visible(
                statistic="Maximum", period=FIVE_MINUTES, label=name
            )
            for name, queue in monitored.dead_letters.items()
        }
        self._interruptible = monitored.interruptible
        self.executions = {
            outcome: getattr(monitored.workflow, f"metric_{outcome}")(statistic="Sum", period=FIVE_MINUTES)
            for outcome in ("started", "succeeded", "aborted")
        }
        # No metric names the last state of an execution or an image, but the log does
        log_group = monitored.workflow_log_group
        self.executions_rejected = _logged(
            scope,
            "ExecutionsRejected",
            config=config,
            log_group=log_group,
            pattern='{ $.type = "FailStateEntered" && $.details.name = "InferencesRejected" }',
        )
        self.execution_failures = _logged(
            scope,
            "ExecutionFailures",
            config=config,
            log_group=log_group,
            pattern=_FAILED,
        )
        self.images_failed = _logged(
            scope,
            "ImagesFailed",
            config=config,
            log_group=log_group,
            pattern='{ $.type = "PassStateEntered" && $.details.name = "Failed" }',
        )

    def published(
        self,
        metric: published.Metric,
        *,
        statistic: str,
        period: Duration = FIVE_MINUTES,
        dimensions: dict[str, str] | None = None,
    ) -> cloudwatch.Metric:
        """A metric that the functions publish."""
        return cloudwatch.Metric(
            namespace=self._config.metric_namespace,
            metric_name=metric.name,
            dimensions_map=dimensions,
            statistic=statistic,
            period=period,
        )

    def image_errors(self) -> cloudwatch.MathExpression:
        """The errors of images, one line for each error's name."""
        schema = f"{{{self._config.metric_namespace},{published.ERROR_DIMENSION}}}"
        return cloudwatch.MathExpression(
            expression=f"SEARCH('{schema} MetricName=\"{published.IMAGE_ERRORS.name}\"', 'Sum', 300)",
            using_metrics={},
            label="",
            period=FIVE_MINUTES,
        )

    def endpoint(self, name: str, *, statistic: str, period: Duration = FIVE_MINUTES) -> cloudwatch.Metric:
        """A metric that SageMaker publishes for the endpoint; latencies are in microseconds.

        https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
        """
        return cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name=name,
            dimensions_map={"EndpointName": self._config.endpoint_name, "VariantName": VARIANT_NAME},
            statistic=statistic,
            period=period,
        )

    def endpoint_milliseconds(self, name: str, *, statistic: str) -> cloudwatch.MathExpression:
        """A latency of the endpoint in milliseconds."""
        return cloudwatch.MathExpression(
            expression=f"{name.lower()}_{statistic} / 1000",
            using_metrics={f"{name.lower()}_{statistic}": self.endpoint(name, statistic=statistic)},
            label=f"{name} {statistic}",
            period=FIVE_MINUTES,
        )

    def interrupted_executions(self) -> cloudwatch.MathExpression:
        """Executions of the long workflows that were aborted or timed out, so none of their states notified anyone."""
        metrics = {
            f"{outcome}_{number}": getattr(workflow, f"metric_{outcome}")(statistic="Sum", period=FIVE_MINUTES)
            for number, workflow in enumerate(self._interruptible)
            for outcome in ("aborted", "timed_out")
        }
        return cloudwatch.MathExpression(
            expression=" + ".join(f"FILL({name}, 0)" for name in metrics),
            using_metrics=metrics,
            label="Interrupted",
            period=FIVE_MINUTES,
        )

    def rejected_percent(self, *, at_least: int, period: Duration) -> cloudwatch.MathExpression:
        """Share of images under the confidence threshold; 0 for fewer than `at_least` images in a period."""
        return cloudwatch.MathExpression(
            expression=f"IF(accepted + rejected >= {at_least}, 100 * rejected / (accepted + rejected), 0)",
            using_metrics={
                "accepted": self.published(published.IMAGES_ACCEPTED, statistic="Sum", period=period),
                "rejected": self.published(published.IMAGES_REJECTED, statistic="Sum", period=period),
            },
            label="Rejected %",
            period=period,
        )

    def capture_is_silent(self, *, at_least: int) -> cloudwatch.MathExpression:
        """1 for an hour in which at least `at_least` requests should have been captured and none was, else 0."""
        period = Duration.hours(1)
        invocations = -(-at_least * 100 // self._config.endpoint.capture_percentage)
        return cloudwatch.MathExpression(
            expression=f"IF(invocations >= {invocations} AND captured < 1, 1, 0)",
            using_metrics={
                "invocations": self.endpoint("Invocations", statistic="Sum", period=period),
                "captured": self.published(published.CAPTURED_REQUESTS, statistic="Maximum", period=period),
            },
            label="Requests, but no captures",
            period=period,
        )

    def endpoint_is_idle(self) -> cloudwatch.MathExpression:
        """1 for an hour in which the endpoint's instances ran, and so were billed, without a request; else 0.

        Running instances publish CPUUtilization; without an endpoint there is no such metric.
        https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html#cloudwatch-metrics-jobs
        """
        period = Duration.hours(1)
        return cloudwatch.MathExpression(
            expression="IF(FILL(running, 0) > 0 AND FILL(requests, 0) < 1, 1, 0)",
            using_metrics={
                "running": cloudwatch.Metric(
                    namespace="/aws/sagemaker/Endpoints",
                    metric_name="CPUUtilization",
                    dimensions_map={"EndpointName": self._config.endpoint_name, "VariantName": VARIANT_NAME},
                    statistic="SampleCount",
                    period=period,
                ),
                "requests": self.endpoint("Invocations", statistic="Sum", period=period),
            },
            label="Instances, but no requests",
            period=period,
        )

    def accuracy_percent(self) -> cloudwatch.MathExpression:
        """Share of correct predictions among those whose true class is known."""
        hour = Duration.hours(1)
        return cloudwatch.MathExpression(
            expression="100 * correct / labelled",
            using_metrics={
                "correct": self.published(published.CORRECT_ANSWERS, statistic="Sum", period=hour),
                "labelled": self.published(published.LABELLED_ANSWERS, statistic="Sum", period=hour),
            },
            label="Accuracy %",
            period=hour,
        )


def _logged(
    scope: Construct, name: str, *, config: EnvironmentConfig, log_group: logs.ILogGroup, pattern: str
) -> cloudwatch.Metric:
    """How many events of the state machine's log match a pattern.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    """
    logs.MetricFilter(
        scope,
        name,
        log_group=log_group,
        filter_pattern=logs.FilterPattern.literal(" ".join(pattern.split())),
        metric_namespace=config.metric_namespace,
        metric_name=name,
        metric_value="1",
        default_value=0,  # publishes zero while executions run
        unit=cloudwatch.Unit.COUNT,
    )
    return cloudwatch.Metric(namespace=config.metric_namespace, metric_name=name, statistic="Sum", period=FIVE_MINUTES)
