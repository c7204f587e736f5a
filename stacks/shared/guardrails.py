"""Blue/green update of the endpoint with automatic rollback: traffic shifts in two steps while alarms watch.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

from typing import Any

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.shared.scanner_exceptions import acknowledge

_SECONDS_BEYOND_BAKING = 30 * 60  # to start the new instances and to terminate the old ones


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
        acknowledge(created, "SageMaker reads it during an update, and rolls back", "CloudWatchAlarmAction")
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


def deployment_config(config: EnvironmentConfig) -> dict[str, Any] | None:
    """The DeploymentConfig, which has the same form in UpdateEndpoint and in AWS::SageMaker::Endpoint.

    SageMaker shifts whole instances, so in a fleet that has scaled out the canary is a smaller share. A single instance
    has no canary: all traffic shifts at once, and the old instance is kept while the new one bakes. None for a
    serverless endpoint, which has no instances.
    """
    if config.endpoint.kind == "serverless":
        return None
    baking = config.endpoint.bake_minutes * 60
    routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    if config.endpoint.canary_instances:
        routing = {
            "Type": "CANARY",
            "WaitIntervalInSeconds": baking,
            "CanarySize": {"Type": "INSTANCE_COUNT", "Value": config.endpoint.canary_instances},
        }
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": baking,
            "MaximumExecutionTimeoutInSeconds": 2 * baking + _SECONDS_BEYOND_BAKING,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in config.update_alarm_names]},
    }
