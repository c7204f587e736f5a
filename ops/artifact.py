"""The model artifact that an environment would serve, and whether it fits the configuration."""

import json
from dataclasses import dataclass

from botocore.exceptions import ClientError

from data_prep import aws
from stacks import prefixes
from stacks.config import EnvironmentConfig
from stacks.training_job import hyperparameters


@dataclass(frozen=True)
class Artifact:
    """What the environment's SSM parameters say; `flaw` is empty if the artifact can be served as configured."""

    uri: str
    job: str
    flaw: str = ""
    is_synthetic: bool = False  # trained on images that data_prep drew

    @property
    def bucket(self) -> str:
        return self.uri.removeprefix("s3://").partition("/")[0]


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
    if differing:
        return Artifact(uri, job, f"it was trained with {', '.join(differing)}")
    return Artifact(uri, job, is_synthetic=_is_synthetic(bucket, job))


def baseline_problem(config: EnvironmentConfig, artifact: Artifact) -> str:
    """What is wrong with the baseline that drift is measured against; empty if it is the artifact's."""
    key = _parameter(config.baseline_parameter)
    if key is None:
        return f"{config.baseline_parameter} is not set: the drift monitor has nothing to compare with"
    if not key.startswith(f"{prefixes.MODELS}{artifact.job}/"):
        return f"{key} is of another model than {artifact.job}"
    return "" if _stored(artifact.bucket, key) else f"s3://{artifact.bucket}/{key} does not exist"


def _is_synthetic(bucket: str, job: str) -> bool:
    """By the data set's manifest, which data_prep and retraining store beside the model."""
    manifest = json.loads(_stored(bucket, f"{prefixes.MODELS}{job}/manifest.json") or "{}")
    return bool(manifest.get("archive", {}).get("is_drawn"))


def _stored(bucket: str, key: str) -> bytes:
    """An object's content; empty if there is none."""
    try:
        return aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except aws.s3().exceptions.NoSuchKey:
        return b""


def _parameter(name: str) -> str | None:
    try:
        return aws.ssm().get_parameter(Name=name)["Parameter"]["Value"]
    except aws.ssm().exceptions.ParameterNotFound:
        return None
