"""The trained model behind a real-time endpoint that captures what it sees and answers."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from stacks import prefixes
from stacks.autoscaling import scale_endpoint
from stacks.builtin_image import BuiltinImage
from stacks.config import EnvironmentConfig

VARIANT_NAME = "AllTraffic"


class ModelStack(Stack):
    """Serves the artifact that the SSM parameter names at deploy time.

    Model and endpoint config have no names of their own, so a new artifact replaces both while the endpoint,
    whose name stays, moves from one to the other without a gap.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        bucket: s3.IBucket,
        sagemaker_role: iam.IRole,
    ) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: model and endpoint")
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=sagemaker_role.role_arn,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                image=BuiltinImage(self).uri,
                model_data_url=ssm.StringParameter.value_for_string_parameter(self, config.artifact_parameter),
            ),
        )
        endpoint_config = sagemaker.CfnEndpointConfig(
            self,
            "EndpointConfig",
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name=VARIANT_NAME,
                    model_name=model.attr_model_name,
                    instance_type=config.endpoint.instance_type,
                    initial_instance_count=config.endpoint.instance_count,
                    initial_variant_weight=1,
                )
            ],
            data_capture_config=sagemaker.CfnEndpointConfig.DataCaptureConfigProperty(
                enable_capture=True,
                initial_sampling_percentage=config.endpoint.capture_percentage,
                destination_s3_uri=bucket.s3_url_for_object(prefixes.DATA_CAPTURE.rstrip("/")),
                capture_options=[
                    sagemaker.CfnEndpointConfig.CaptureOptionProperty(capture_mode=mode) for mode in ("Input", "Output")
                ],
                # Declared as JSON, the answers are captured as text; images stay base64
                capture_content_type_header=sagemaker.CfnEndpointConfig.CaptureContentTypeHeaderProperty(
                    json_content_types=["application/json"]
                ),
            ),
        )
        endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=config.endpoint_name,
            endpoint_config_name=endpoint_config.attr_endpoint_config_name,
        )
        if config.endpoint.max_instance_count:
            scale_endpoint(self, endpoint=endpoint, config=config.endpoint, variant_name=VARIANT_NAME)
        self.model_name = model.attr_model_name
        CfnOutput(self, "EndpointName", value=endpoint.attr_endpoint_name)
