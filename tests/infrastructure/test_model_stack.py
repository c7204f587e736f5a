from stacks.config import load_environment
from tests.infrastructure.conftest import Template, text


def test_the_model_serves_the_artifact_that_ssm_names_at_deploy_time(model: Template, environment: str) -> None:
    container = model.only("AWS::SageMaker::Model")["PrimaryContainer"]
    parameter = model.content["Parameters"][container["ModelDataUrl"]["Ref"]]
    assert parameter["Type"] == "AWS::SSM::Parameter::Value<String>"
    assert parameter["Default"] == f"/scones/{environment}/model/artifact-uri"
    assert text(container["Image"]).endswith("/image-classification:1")


def test_the_endpoint_captures_inputs_and_outputs(model: Template, environment: str) -> None:
    capture = model.only("AWS::SageMaker::EndpointConfig")["DataCaptureConfig"]
    assert capture["EnableCapture"] is True
    assert capture["InitialSamplingPercentage"] == load_environment(environment).endpoint.capture_percentage
    assert [option["CaptureMode"] for option in capture["CaptureOptions"]] == ["Input", "Output"]
    assert text(capture["DestinationS3Uri"]).startswith("s3://<")
    assert text(capture["DestinationS3Uri"]).endswith(">/data-capture")
    assert capture["CaptureContentTypeHeader"] == {"JsonContentTypes": ["application/json"]}


def test_instances_are_the_configured_ones(model: Template, environment: str) -> None:
    (variant,) = model.only("AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    config = load_environment(environment).endpoint
    assert variant["InstanceType"] == config.instance_type
    assert variant["InitialInstanceCount"] == config.instance_count


def test_a_new_artifact_is_a_rolling_replacement(model: Template, environment: str) -> None:
    """A fixed name would make CloudFormation refuse to replace the model or the endpoint config."""
    assert "ModelName" not in model.only("AWS::SageMaker::Model")
    assert "EndpointConfigName" not in model.only("AWS::SageMaker::EndpointConfig")
    assert model.only("AWS::SageMaker::Endpoint")["EndpointName"] == f"scones-{environment}"


def test_prod_follows_its_traffic_and_dev_does_not(model: Template, environment: str) -> None:
    targets = model.resources("AWS::ApplicationAutoScaling::ScalableTarget")
    assert bool(targets) == (environment == "prod")
    if targets:
        config = load_environment(environment).endpoint
        target = model.only("AWS::ApplicationAutoScaling::ScalableTarget")
        assert (target["MinCapacity"], target["MaxCapacity"]) == (config.instance_count, config.max_instance_count)
        (variant,) = model.only("AWS::SageMaker::EndpointConfig")["ProductionVariants"]
        assert text(target["ResourceId"]).endswith(f"/variant/{variant['VariantName']}")
        policy = model.only("AWS::ApplicationAutoScaling::ScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]
        assert policy["TargetValue"] == config.invocations_per_instance
        assert policy["PredefinedMetricSpecification"] == {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        }
