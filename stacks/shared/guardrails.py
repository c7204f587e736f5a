"""The alarms that watch an update of the endpoint, and send it back."""

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.shared.deployment_config import deployment_config
from stacks.shared.scanner_exceptions import acknowledge


def guardrail_alarms(scope: Construct, *, config: EnvironmentConfig, variant_name: str) -> list[cloudwatch.Alarm]:
    """Alarms on which SageMaker rolls an update back. The operators' alarms are in stacks/monitoring/alarms.py.

    They refer to the endpoint by name, so they can exist before it. Without requests they stay OK.
    """
    dimensions = {"EndpointName": config.endpoint_name, "VariantName": variant_name}
    errors, latency = config.update_alarm_names

    def metric(name: str, statistic: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name=name,
            dimensions_map=dimensions,
            statistic=statistic,
            period=Duration.minutes(1),
        )

    def alarm(construct_id: str, name: str, watched: cloudwatch.Metric, threshold: float) -> cloudwatch.Alarm:
        created = cloudwatch.Alarm(
            scope,
            construct_id,
            alarm_name=name,
            alarm_description="Ends an update of the endpoint: SageMaker goes back to what was served before.",
            metric=watched,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        acknowledge(created, {"CloudWatchAlarmAction": "SageMaker reads it during an update, and rolls back"})
        return created

    return [
        alarm("UpdateErrors", errors, metric("Invocation5XXErrors", "Sum"), 0),
        # In microseconds. p99, because the median would not show a canary of 1 in 20 requests
        alarm("UpdateLatency", latency, metric("ModelLatency", "p99"), config.endpoint.max_update_latency_ms * 1000),
    ]


def guardrail_alarm_arns(scope: Stack, config: EnvironmentConfig) -> list[str]:
    """The alarms that an update names. The role that updates the endpoint and the model's role must describe them."""
    return [
        scope.format_arn(
            service="cloudwatch", resource="alarm", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        for name in (config.update_alarm_names if deployment_config(config) else ())
    ]
