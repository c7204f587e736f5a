"""Lets the emulator's CloudFormation create SageMaker resources: each becomes a call to the stand-in's API."""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.exceptions import ClientError
from botocore.model import StructureShape
from botocore.validate import ParamValidator
from ministack.services.cloudformation import provisioners, stacks

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

Properties = dict[str, Any]
Created = tuple[str, dict[str, str]]

_POLL_SECONDS = 0.2
_MOVING = {"Creating", "Updating"}


def register() -> None:
    """Add the handlers to the emulator. They wait for the stand-in, so they run on its worker threads."""
    provisioners._RESOURCE_HANDLERS.update(
        {
            "AWS::SageMaker::Model": {
                "create": _create_model,
                "delete": lambda name, _: _delete(_sagemaker().delete_model, ModelName=name),
            },
            "AWS::SageMaker::EndpointConfig": {
                "create": _create_endpoint_config,
                "delete": lambda name, _: _delete(_sagemaker().delete_endpoint_config, EndpointConfigName=name),
            },
            "AWS::SageMaker::Endpoint": {
                "create": _create_endpoint,
                "update": _update_endpoint,
                "delete": lambda name, _: _delete(_sagemaker().delete_endpoint, EndpointName=name),
            },
            "AWS::SageMaker::ModelPackageGroup": {
                "create": _create_model_package_group,
                "delete": lambda name, _: _delete(_sagemaker().delete_model_package_group, ModelPackageGroupName=name),
            },
            # Requests are validated as on AWS, but nothing scales: there is only one instance
            "AWS::ApplicationAutoScaling::ScalableTarget": {
                "create": _create_scalable_target,
                "delete": lambda _name, _properties: None,
            },
            "AWS::ApplicationAutoScaling::ScalingPolicy": {
                "create": _create_scaling_policy,
                "delete": lambda _name, _properties: None,
            },
        }
    )
    runs_on_worker_thread = stacks._runs_on_worker_thread
    waiting = ("AWS::SageMaker::", "AWS::ApplicationAutoScaling::")
    stacks._runs_on_worker_thread = lambda kind: kind.startswith(waiting) or runs_on_worker_thread(kind)


def _sagemaker() -> "SageMakerClient":
    return boto3.client("sagemaker", endpoint_url=os.environ["AWS_ENDPOINT_URL_SAGEMAKER"])


def _name(properties: Properties, member: str, stack_name: str, logical_id: str) -> str:
    """The template's name, or one derived from the content, because every change of these types is a replacement."""
    generated = provisioners._physical_name(stack_name, logical_id, max_len=50)
    return str(properties.get(member) or f"{generated}-{os.urandom(4).hex()}")


def _create_model(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name(properties, "ModelName", stack_name, logical_id)
    arn = _sagemaker().create_model(**{**properties, "ModelName": name})["ModelArn"]
    return name, {"ModelName": name, "Id": arn}


def _create_endpoint_config(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name(properties, "EndpointConfigName", stack_name, logical_id)
    arn = _sagemaker().create_endpoint_config(**{**properties, "EndpointConfigName": name})["EndpointConfigArn"]
    return name, {"EndpointConfigName": name, "Id": arn}


def _create_endpoint(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name(properties, "EndpointName", stack_name, logical_id)
    for_updates = {"RetainAllVariantProperties", "ExcludeRetainedVariantProperties"} & properties.keys()
    if for_updates:
        raise ValueError(f"endpoint {name}: {', '.join(sorted(for_updates))}: only for updates, says CloudFormation")
    settings = ("DeploymentConfig", "RetainDeploymentConfig")
    request = {key: value for key, value in properties.items() if key not in settings}
    arn = _sagemaker().create_endpoint(**{**request, "EndpointName": name})["EndpointArn"]
    _wait(name)
    return name, {"EndpointName": name, "Id": arn}


def _update_endpoint(name: str, _: Properties, properties: Properties, stack_name: str) -> Created:  # noqa: ARG001
    config_name = properties["EndpointConfigName"]
    arn = _sagemaker().update_endpoint(**{**_without_tags(properties), "EndpointName": name})["EndpointArn"]
    _wait(name)
    served = _sagemaker().describe_endpoint(EndpointName=name)
    if served["EndpointConfigName"] != config_name:
        raise ValueError(f"endpoint {name} was not updated: {served.get('FailureReason')}")
    return name, {"EndpointName": name, "Id": arn}


def _create_model_package_group(logical_id: str, properties: Properties, stack_name: str) -> Created:
    name = _name(properties, "ModelPackageGroupName", stack_name, logical_id)
    arn = _sagemaker().create_model_package_group(**properties)["ModelPackageGroupArn"]
    return name, {"ModelPackageGroupArn": arn}


def _without_tags(properties: Properties) -> Properties:
    """The request without tags, which an update does not accept."""
    return {key: value for key, value in properties.items() if key != "Tags"}


def _create_scalable_target(logical_id: str, properties: Properties, stack_name: str) -> Created:  # noqa: ARG001
    tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}  # a map in the API
    _check_scaling("RegisterScalableTarget", {**properties, "Tags": tags})
    _, endpoint, _, variant = properties["ResourceId"].split("/")
    config_name = _sagemaker().describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    config = _sagemaker().describe_endpoint_config(EndpointConfigName=config_name)
    if variant not in {known["VariantName"] for known in config["ProductionVariants"]}:
        raise ValueError(f"endpoint {endpoint} has no variant {variant} to scale")
    members = ("ResourceId", "ScalableDimension", "ServiceNamespace")
    return "|".join(properties[member] for member in members), {}


def _create_scaling_policy(logical_id: str, properties: Properties, stack_name: str) -> Created:  # noqa: ARG001
    resource_id, dimension, namespace = properties["ScalingTargetId"].split("|")
    policy = {name: value for name, value in properties.items() if name != "ScalingTargetId"}
    target = {"ResourceId": resource_id, "ScalableDimension": dimension, "ServiceNamespace": namespace}
    _check_scaling("PutScalingPolicy", {**policy, **target})
    arn = f"arn:aws:autoscaling:{os.environ['AWS_REGION']}::scalingPolicy:{resource_id}/{properties['PolicyName']}"
    return arn, {"Arn": arn}


def _check_scaling(operation: str, request: Properties) -> None:
    """Raise ValueError for a request that botocore's service model does not know."""
    service = botocore.session.get_session().get_service_model("application-autoscaling")
    shape = service.operation_model(operation).input_shape
    if not isinstance(shape, StructureShape):
        raise TypeError(f"{operation} takes nothing")
    unknown = set(request) - set(shape.members)
    report = ParamValidator().validate(request, shape)
    if report.has_errors() or unknown:
        raise ValueError(f"{operation}: {report.generate_report() or 'unknown: ' + ', '.join(sorted(unknown))}")


def _wait(name: str) -> None:
    while (endpoint := _sagemaker().describe_endpoint(EndpointName=name))["EndpointStatus"] in _MOVING:
        time.sleep(_POLL_SECONDS)
    if endpoint["EndpointStatus"] != "InService":
        raise ValueError(f"endpoint {name} did not come into service: {endpoint.get('FailureReason')}")


def _delete(operation: Callable[..., object], **name: str) -> None:
    try:
        operation(**name)
    except ClientError as error:
        if "Could not find" not in str(error):
            raise
