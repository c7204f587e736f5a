"""Automatic scaling of the endpoint's instances."""

from aws_cdk import Duration
from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from stacks.config import EndpointConfig


def scale_endpoint(
    scope: Construct, *, endpoint: sagemaker.CfnEndpoint, config: EndpointConfig, variant_name: str
) -> None:
    """Scale between `instance_count` and `max_instance_count` to keep `config.invocations_per_instance` per minute.

    How to determine that number for a model and an instance type:
    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-loadtest.html
    """
    target = autoscaling.ScalableTarget(
        scope,
        "EndpointInstances",
        service_namespace=autoscaling.ServiceNamespace.SAGEMAKER,
        scalable_dimension="sagemaker:variant:DesiredInstanceCount",
        resource_id=f"endpoint/{endpoint.attr_endpoint_name}/variant/{variant_name}",
        min_capacity=config.instance_count,
        max_capacity=config.max_instance_count or config.instance_count,
    )
    target.scale_to_track_metric(
        "FollowInvocations",
        predefined_metric=autoscaling.PredefinedMetric.SAGEMAKER_VARIANT_INVOCATIONS_PER_INSTANCE,
        target_value=config.invocations_per_instance,
        scale_out_cooldown=Duration.minutes(1),
        # A new instance takes minutes to start, so a short lull must not remove it
        scale_in_cooldown=Duration.minutes(10),
    )
