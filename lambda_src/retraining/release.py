"""Reads what the endpoint serves, and releases another model.

All names are derived from the training job and the run, so that a repeated step finds what it created before.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.retraining.errors import EndpointBusyError, EndpointNotServingError, TrainingJobMissingError
from lambda_src.retraining.trained_model import TrainedModel, training_accuracy
from lambda_src.shared import aws, settings
from lambda_src.shared.algorithms import container_of
from lambda_src.shared.json_reader import read_json
from lambda_src.shared.model_documents import document_key

_BUSY = {"Creating", "Updating", "SystemUpdating", "RollingBack"}
_ARTIFACT = re.compile(r"s3://[^/]+/models/(?P<job>[^/]+)/output/model\.tar\.gz")
# A release copies these settings from the model and the endpoint config in service, so it changes nothing else
MODEL_SETTINGS = ("EnableNetworkIsolation", "ExecutionRoleArn", "VpcConfig")
CONFIG_SETTINGS = (
    "AsyncInferenceConfig",
    "DataCaptureConfig",
    "ExplainerConfig",
    "KmsKeyId",
    "MetricsConfig",
    "ShadowProductionVariants",
)


@dataclass(frozen=True)
class Served:
    """The model in service, and its endpoint config, as SageMaker describes them."""

    endpoint_config: dict[str, Any]
    model: dict[str, Any]

    @property
    def artifact_uri(self) -> str:
        return str(self.model["PrimaryContainer"]["ModelDataUrl"])

    @property
    def job(self) -> str:
        return job_of(self.artifact_uri)

    def as_dict(self) -> dict[str, str]:
        return {
            "job": self.job,
            "artifact_uri": self.artifact_uri,
            "model": self.model["ModelName"],
            "endpoint_config": self.endpoint_config["EndpointConfigName"],
        }


def job_of(artifact_uri: str) -> str:
    """The training job that wrote an artifact; the URI itself for an artifact outside `models/`."""
    match = _ARTIFACT.fullmatch(artifact_uri)
    return match["job"] if match else artifact_uri


def served() -> Served:
    """What the endpoint serves; raises EndpointBusyError while it is being updated, or EndpointNotServingError."""
    name = settings.endpoint_name()
    sagemaker = aws.sagemaker()
    try:
        endpoint = sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if not is_missing(error):
            raise
        raise EndpointNotServingError(
            f"endpoint {name} does not exist: deploy the model stack first or, if it is paused, `python -m ops resume`"
        ) from None
    if endpoint["EndpointStatus"] in _BUSY:
        raise EndpointBusyError(f"endpoint {name} is {endpoint['EndpointStatus']}")
    if endpoint["EndpointStatus"] != "InService":
        raise EndpointNotServingError(
            f"endpoint {name} is {endpoint['EndpointStatus']}: {endpoint.get('FailureReason', 'no reason given')}"
        )
    config: Any = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model: Any = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    return Served(config, model)


def training_job(name: str) -> dict[str, Any]:
    """The description of a completed training job; raises TrainingJobMissingError."""
    try:
        job: Any = aws.sagemaker().describe_training_job(TrainingJobName=name)
    except ClientError as error:
        if not is_missing(error):
            raise
        raise TrainingJobMissingError(
            f"there is no training job {name}; to restore an adopted model, run `python -m data_prep adopt` and deploy"
        ) from None
    if job["TrainingJobStatus"] != "Completed":
        raise TrainingJobMissingError(f"training job {name} is {job['TrainingJobStatus']}: it has no model")
    return dict(job)


def ensure_model(job: Mapping[str, Any], like: Served) -> str:
    """Create the model of a training job unless it exists, with the settings of the model in service; returns its name.

    Image and environment variables are the job's own, because the model in service may be of the other algorithm.
    A model cannot be changed: if the job has one with other settings, as from before the endpoint became serverless,
    the new one has a number.
    """
    container: Any = {
        key: value
        for key, value in like.model["PrimaryContainer"].items()
        if key in {"ContainerHostname", "ImageConfig"}
    }
    container |= {**container_of_job(job), "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
    request: Any = {key: like.model[key] for key in MODEL_SETTINGS if key in like.model}
    name, number = str(job["TrainingJobName"]), 1
    while True:
        try:
            aws.sagemaker().create_model(ModelName=name, PrimaryContainer=container, Tags=_tags(), **request)
            return name
        except ClientError as error:
            if not is_existing(error):
                raise
        existing: Any = aws.sagemaker().describe_model(ModelName=name)
        is_same = all(existing.get(key) == like.model.get(key) for key in MODEL_SETTINGS)
        if is_same and existing["PrimaryContainer"]["ModelDataUrl"] == container["ModelDataUrl"]:
            return name
        number += 1
        name = f"{job['TrainingJobName']}-{number}"


def container_of_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """The image and environment variables that serve a job's artifact."""
    image = job["AlgorithmSpecification"]["TrainingImage"]
    return {"Image": image, "Environment": dict(container_of(image).serving_environment)}


def endpoint_config_name(model: str, run: str) -> str:
    return f"{model}-{run}"


def ensure_endpoint_config(name: str, model: str, like: Served) -> None:
    """Create an endpoint config, unless it exists, that differs from the one in service only in its model."""
    variants: Any = [
        {**{key: value for key, value in variant.items() if value is not None}, "ModelName": model}
        for variant in like.endpoint_config["ProductionVariants"]
    ]
    request: Any = {key: like.endpoint_config[key] for key in CONFIG_SETTINGS if key in like.endpoint_config}
    try:
        aws.sagemaker().create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=variants, Tags=_tags(), **request
        )
    except ClientError as error:
        if not is_existing(error):
            raise


def update_endpoint(endpoint_config: str, *, guarded: bool) -> None:
    """Start an update of the endpoint, which keeps the instance count that autoscaling chose.

    guarded: with the environment's canary and alarms. A serverless endpoint has neither. Raises EndpointBusyError.
    """
    deployment = settings.deployment_config()
    request: Any = {}
    if deployment:
        request = {"RetainAllVariantProperties": True, "DeploymentConfig": deployment if guarded else AT_ONCE}
    try:
        aws.sagemaker().update_endpoint(
            EndpointName=settings.endpoint_name(), EndpointConfigName=endpoint_config, **request
        )
    except ClientError as error:
        if "Cannot update in-progress endpoint" in str(error):
            raise EndpointBusyError(str(error)) from error
        raise


# No canary and no alarms: the alarms that the failing model has raised must not stop the rollback to a model that works
AT_ONCE: Mapping[str, Any] = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": 0,
    }
}


def trained_model(job: Mapping[str, Any]) -> TrainedModel:
    """A job's model with its metadata. The accuracy is the latest evaluation's, or else the training job's own."""
    name = job["TrainingJobName"]
    manifest = stored_json(document_key(name, "manifest")) or {}
    evaluation = stored_json(document_key(name, "evaluation")) or {}
    return TrainedModel.of(
        job,
        classes=manifest.get("classes", settings.classes()),
        data_digest=manifest.get("data_digest", ""),
        accuracy=evaluation.get("accuracy", training_accuracy(job)),
    )


def stored_json(key: str) -> dict[str, Any] | None:
    """The content of a JSON object in the bucket; None if it does not exist."""
    try:
        body = aws.s3().get_object(Bucket=settings.bucket_name(), Key=key)["Body"]
    except aws.s3().exceptions.NoSuchKey:
        return None
    return read_json(body, name=key)


def store_json(key: str, content: Any) -> None:
    aws.s3().put_object(
        Bucket=settings.bucket_name(),
        Key=key,
        Body=json.dumps(content, indent=2).encode(),
        ContentType="application/json",
    )


def parameter(name: str) -> str | None:
    """The value of an SSM parameter; None if it does not exist."""
    try:
        return aws.ssm().get_parameter(Name=name)["Parameter"]["Value"]
    except aws.ssm().exceptions.ParameterNotFound:
        return None


def is_missing(error: ClientError) -> bool:
    """Whether the resource does not exist. SageMaker has no error code for that, only a message."""
    message = error.response["Error"]["Message"].lower()
    return "could not find" in message or "not found" in message


def is_existing(error: ClientError) -> bool:
    return "already exist" in error.response["Error"]["Message"].lower()


def _tags() -> list[Any]:
    return [
        {"Key": "application", "Value": "scones-unlimited"},
        {"Key": "environment", "Value": settings.stage_name().removeprefix("scones-")},
    ]


def candidate_and_incumbent(job_name: str) -> dict[str, Any]:
    """The job's model (`candidate`), the model in service (`incumbent`), and whether the candidate is already served
    (`is_served`) and named by the artifact's parameter (`is_released`).

    It is served but not released if an earlier run was interrupted in between. Raises EndpointBusyError,
    EndpointNotServingError or TrainingJobMissingError.
    """
    job = training_job(job_name)
    incumbent = served()
    artifact_uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    return {
        "candidate": {
            "job": job["TrainingJobName"],
            "artifact_uri": artifact_uri,
            "model": ensure_model(job, incumbent),
            "container": container_of_job(job),
        },
        "incumbent": incumbent.as_dict(),
        "is_served": incumbent.artifact_uri == artifact_uri,
        "is_released": parameter(settings.artifact_parameter()) == artifact_uri,
    }
