"""Blue/green update of the endpoint with automatic rollback: traffic shifts in two steps while alarms watch.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

from typing import Any

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.shared.scanner_exceptions import acknowledge

_SECONDS_BEYOND_BAKING = 30 * 60  # to start the new instances and to end the old ones


def guardrail_alarms(scope: Construct, *, config: EnvironmentConfig, variant_name: str) -> list[cloudwatch.Alarm]:
    """Alarms that end an update. They go to SageMaker, not to people: stacks/monitoring/alarms.py has those.

    They know the endpoint by its name, so they can be there before it; without requests they are quiet.
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
        acknowledge(created, "SageMaker looks at it during an update and goes back", "CloudWatchAlarmAction")
        return created

    return [
        alarm("UpdateErrors", errors, metric("Invocation5XXErrors", "Sum"), 0),
        # Microseconds. A canary of 1 in 20 requests is not seen by the median
        alarm("UpdateLatency", latency, metric("ModelLatency", "p99"), config.endpoint.max_update_latency_ms * 1000),
    ]


def guardrail_alarm_arns(scope: Stack, config: EnvironmentConfig) -> list[str]:
    """Alarms that an update names: who updates the endpoint must be able to describe them, and so must its model."""
    return [
        scope.format_arn(
            service="cloudwatch", resource="alarm", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        for name in (config.update_alarm_names if deployment_config(config) else ())
    ]


def deployment_config(config: EnvironmentConfig) -> dict[str, Any] | None:
    """The DeploymentConfig of UpdateEndpoint and of AWS::SageMaker::Endpoint, which are spelled alike.

    SageMaker moves whole instances. Of a fleet that scaling has made larger the canary is a smaller share.
    Without a canary all traffic moves at once; the old instance is kept while the new one bakes.
    None for a serverless endpoint, which has no instances to move traffic between.
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
