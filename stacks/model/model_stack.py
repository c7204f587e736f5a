"""The model, the endpoint that serves it, and what belongs to the endpoint: scaling, pause and release log."""

from typing import Any

from aws_cdk import (
    ArnFormat,
    Aws,
    CfnCondition,
    CfnOutput,
    CfnParameter,
    CfnResource,
    Duration,
    Fn,
    Stack,
    Token,
)
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sns as sns
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.config import ENDPOINT_EXISTS, ENDPOINT_PAUSED, VARIANT_NAME, EndpointConfig, EnvironmentConfig
from stacks.model.autoscaling import scale_endpoint
from stacks.model.endpoint_pause import EndpointPause
from stacks.model.hours import WeeklyHours
from stacks.shared import prefixes
from stacks.shared.algorithm import IMAGE_CLASSIFICATION, SCIKIT_LEARN
from stacks.shared.algorithm_image import AlgorithmImage
from stacks.shared.dead_letter_queue import DeadLetterQueue
from stacks.shared.deployment_config import deployment_config, update_weight
from stacks.shared.function import Function
from stacks.shared.guardrails import guardrail_alarms
from stacks.shared.local_storage import volume_key_of

_GOES_WITH_ENDPOINT = (
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::SageMaker::Endpoint",
)


class ModelStack(Stack):
    """Serves the artifact that the SSM parameter names at deploy time.

    CloudFormation generates the names of model and endpoint config, so a new artifact replaces both. The endpoint has a
    fixed name: it is updated, and serves without interruption.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        bucket: s3.IBucket,
        sagemaker_role: iam.IRole,
        alert_topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: model and endpoint")
        key_arn = bucket.encryption_key.key_arn if bucket.encryption_key else None
        model = sagemaker.CfnModel(
            self,
            "Model",
            # The container needs no network: SageMaker copies the artifact in and the captures out
            enable_network_isolation=config.endpoint.is_isolated,
            execution_role_arn=sagemaker_role.role_arn,
            primary_container=self._container(config),
        )
        endpoint_config = sagemaker.CfnEndpointConfig(
            self,
            "EndpointConfig",
            production_variants=[production_variant(config.endpoint, model_name=model.attr_model_name)],
            kms_key_id=volume_key_of(config.endpoint, key_arn),
            data_capture_config=data_capture(config.endpoint, bucket, key_arn=key_arn)
            if config.endpoint.captures
            else None,
        )
        endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=config.endpoint_name,
            endpoint_config_name=endpoint_config.attr_endpoint_config_name,
        )
        deployment = deployment_config(config)
        if deployment:
            endpoint.add_property_override("DeploymentConfig", deployment)
        weight: Any = update_weight(deployment, retains=False)
        self.dead_letters = DeadLetterQueue(self, "UndeliveredReleases")
        # Created before the endpoint, so that its first update finds the alarms, and its first event the rule
        alarms = guardrail_alarms(self, config=config, variant_name=VARIANT_NAME)
        endpoint.node.add_dependency(*alarms, self._release_log(config, bucket))
        if config.endpoint.max_instance_count:
            is_update = self._keep_instances(endpoint)
            weight = Fn.condition_if(is_update.logical_id, update_weight(deployment, retains=True), weight)
            scale_endpoint(self, endpoint=endpoint, config=config.endpoint, variant_name=VARIANT_NAME)
        endpoint_config.add_property_override("ProductionVariants.0.InitialVariantWeight", weight)
        self.state_machines = [self._let_pause(config, bucket, alert_topic)]
        CfnOutput(self, "EndpointName", value=config.endpoint_name)

    def _let_pause(self, config: EnvironmentConfig, bucket: s3.IBucket, alert_topic: sns.ITopic) -> sfn.IStateMachine:
        """Create the endpoint on a condition of a parameter, whose value CDK keeps in every deployment.

        Model and endpoint config stay during a pause, and cost nothing. Every kind of endpoint can be paused: SageMaker
        cannot update an endpoint on instances to a serverless one, but a resume creates whichever is configured.
        """
        paused = CfnParameter(
            self,
            ENDPOINT_PAUSED,
            default="false",
            allowed_values=["false", "true"],
            description="Whether the endpoint is left out: `python -m ops pause` and `resume` change it",
        )
        is_there = CfnCondition(self, "IsThere", expression=Fn.condition_equals(paused, "false"))
        for resource in self.node.find_all():
            if isinstance(resource, CfnResource) and resource.cfn_resource_type in _GOES_WITH_ENDPOINT:
                resource.cfn_options.condition = is_there
        pause = EndpointPause(self, "EndpointPause", config=config, bucket=bucket, alert_topic=alert_topic)
        if config.endpoint.hours:
            pause.follow(WeeklyHours.parse(config.endpoint.hours), dead_letters=self.dead_letters)
        CfnOutput(self, "EndpointPauseArn", value=pause.state_machine_arn)
        # Imported by name: CloudFormation cannot remove an export that is imported, so with a reference the environment
        # could not return to an earlier version
        arn = self.format_arn(
            service="states",
            resource="stateMachine",
            resource_name=config.pause_name,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        return sfn.StateMachine.from_state_machine_arn(self, "EndpointPauseByName", arn)

    def _container(self, config: EnvironmentConfig) -> sagemaker.CfnModel.ContainerDefinitionProperty:
        """The container of the artifact's algorithm, which may differ from the one that is configured for training."""
        algorithm = ssm.StringParameter.value_for_string_parameter(self, config.model_algorithm_parameter)
        is_scikit_learn = CfnCondition(
            self, "IsScikitLearn", expression=Fn.condition_equals(algorithm, SCIKIT_LEARN.name)
        ).logical_id
        builtin, scikit_learn = (AlgorithmImage(self, each).uri for each in (IMAGE_CLASSIFICATION, SCIKIT_LEARN))
        return sagemaker.CfnModel.ContainerDefinitionProperty(
            image=Token.as_string(Fn.condition_if(is_scikit_learn, scikit_learn, builtin)),
            environment=Fn.condition_if(is_scikit_learn, SCIKIT_LEARN.container.serving_environment, Aws.NO_VALUE),
            model_data_url=ssm.StringParameter.value_for_string_parameter(self, config.artifact_parameter),
        )

    def _keep_instances(self, endpoint: sagemaker.CfnEndpoint) -> CfnCondition:
        """Keep, in an update, the instance count that autoscaling chose; returns the condition of an update.

        CloudFormation allows the property only in updates, and a template cannot tell whether the endpoint exists. So
        `python -m ops deploy` sets a parameter, and CDK keeps its value. Its first deployment after the endpoint was
        created changes it, and so replaces the endpoint config once.
        """
        exists = CfnParameter(
            self,
            ENDPOINT_EXISTS,
            default="false",
            allowed_values=["false", "true"],
            description="Whether the endpoint is there already: its instance count is then left as it is",
        )
        is_update = CfnCondition(self, "IsUpdate", expression=Fn.condition_equals(exists, "true"))
        endpoint.add_property_override(
            "RetainAllVariantProperties", Fn.condition_if(is_update.logical_id, True, Aws.NO_VALUE)
        )
        return is_update

    def _release_log(self, config: EnvironmentConfig, bucket: s3.IBucket) -> events.Rule:
        """Record every change of what the endpoint serves, whatever its origin."""
        function = Function(
            self,
            "ReleaseLog",
            config=config,
            environment={"BUCKET_NAME": bucket.bucket_name},
            dead_letters=self.dead_letters,
        )
        function.allow(["s3:PutObject"], [bucket.arn_for_objects(f"{prefixes.RELEASES}*")])
        function.allow(
            ["sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"],
            [
                self.format_arn(service="sagemaker", resource=resource, resource_name="*")
                for resource in ("endpoint-config", "model")
            ],
        )
        return events.Rule(
            self,
            "EndpointChanged",
            description="The endpoint serves another model, or is about to",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Endpoint State Change"],
                detail={"EndpointName": [config.endpoint_name]},
            ),
            targets=[
                targets.LambdaFunction(
                    function,
                    retry_attempts=8,
                    max_event_age=Duration.hours(2),
                    dead_letter_queue=self.dead_letters,
                )
            ],
        )


def production_variant(
    config: EndpointConfig, *, model_name: str
) -> sagemaker.CfnEndpointConfig.ProductionVariantProperty:
    """The endpoint's only variant, with instances or serverless."""
    if config.kind == "serverless":
        return sagemaker.CfnEndpointConfig.ProductionVariantProperty(
            variant_name=VARIANT_NAME,
            model_name=model_name,
            serverless_config=sagemaker.CfnEndpointConfig.ServerlessConfigProperty(
                max_concurrency=config.serverless_max_concurrency, memory_size_in_mb=config.serverless_memory_mb
            ),
        )
    return sagemaker.CfnEndpointConfig.ProductionVariantProperty(
        variant_name=VARIANT_NAME,
        model_name=model_name,
        instance_type=config.instance_type,
        initial_instance_count=config.instance_count,
    )


def data_capture(
    config: EndpointConfig, bucket: s3.IBucket, *, key_arn: str | None
) -> sagemaker.CfnEndpointConfig.DataCaptureConfigProperty:
    return sagemaker.CfnEndpointConfig.DataCaptureConfigProperty(
        enable_capture=True,
        kms_key_id=key_arn,
        initial_sampling_percentage=config.capture_percentage,
        destination_s3_uri=bucket.s3_url_for_object(prefixes.DATA_CAPTURE.rstrip("/")),
        capture_options=[
            sagemaker.CfnEndpointConfig.CaptureOptionProperty(capture_mode=mode) for mode in ("Input", "Output")
        ],
        # Responses are declared as JSON, and so captured as text; images are captured as base64
        capture_content_type_header=sagemaker.CfnEndpointConfig.CaptureContentTypeHeaderProperty(
            json_content_types=["application/json"]
        ),
    )
