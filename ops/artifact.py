"""The model artifact that an environment would serve, and whether it fits the configuration."""

import json
from dataclasses import dataclass

from botocore.exceptions import ClientError

from data_prep import aws
from stacks.config import EnvironmentConfig
from stacks.training_job import hyperparameters


@dataclass(frozen=True)
class Artifact:
    """What the environment's SSM parameters say; `flaw` is empty if the artifact can be served as configured."""

    uri: str
    job: str
    flaw: str = ""


def current_artifact(config: EnvironmentConfig) -> Artifact | None:
    """The artifact that training handed over last; None before the first."""
    uri = _parameter(config.artifact_parameter)
    if uri is None:
        return None
    metadata = json.loads(_parameter(config.model_metadata_parameter) or "{}")
    job = str(metadata.get("job", "an unknown job"))
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        aws.s3().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey", "NoSuchBucket"}:
            raise
        return Artifact(uri, job, "the object does not exist")
    classes = tuple(metadata.get("classes", config.classes))
    if classes != config.classes:
        return Artifact(
            uri, job, f"it was trained for {', '.join(classes)}; configured are {', '.join(config.classes)}"
        )
    trained_with = metadata.get("hyperparameters")
    differing = [
        f"{name} {trained_with.get(name)} instead of {value}"
        for name, value in (hyperparameters(config).items() if trained_with else ())
        if trained_with.get(name) != value
    ]
    return Artifact(uri, job, f"it was trained with {', '.join(differing)}" if differing else "")


def _parameter(name: str) -> str | None:
    try:
        return aws.ssm().get_parameter(Name=name)["Parameter"]["Value"]
    except aws.ssm().exceptions.ParameterNotFound:
        return None
