"""The model artifact that an environment would serve, and whether it fits the configuration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from data_prep import aws
from lambda_src.shared.algorithms import container_of
from lambda_src.shared.model_documents import document_key
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.hyperparameters import hyperparameters, parameters_digest


@dataclass(frozen=True)
class Artifact:
    """What training handed over last. `mismatch` is empty if it can be served as configured.

    metadata: what the environment's parameter says of the model (lambda_src/retraining/trained_model.py).
    algorithm: by which a deployment would serve it; empty if the environment's parameter does not say.
    manifest: what lies beside the artifact of the data that it was trained on: data_prep's manifest, or what retraining
    knows of data that somebody has changed; empty if there is nothing.
    """

    uri: str
    job: str
    mismatch: str = ""
    algorithm: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        return self.uri.removeprefix("s3://").partition("/")[0]

    @property
    def trained_by(self) -> str:
        """The algorithm that trained it; empty if its metadata does not say."""
        return _trained_by(self.metadata)

    @property
    def origin(self) -> str:
        """How it came here, to follow its name."""
        adopted_from = self.manifest.get("adopted_from")
        return f"which was adopted from {adopted_from}" if adopted_from else "which was trained as configured"

    @property
    def is_of_an_archive(self) -> bool:
        """Whether an archive has all that it was trained on."""
        return "archive" in self.manifest

    @property
    def is_synthetic(self) -> bool:
        """Whether it was trained on synthetic images."""
        return bool(self.manifest.get("archive", {}).get("is_synthetic"))


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
        return Artifact(uri, job, "the object does not exist", metadata=metadata)
    manifest = json.loads(_stored(bucket, document_key(job, "manifest")) or "{}")
    algorithm = _parameter(config.model_algorithm_parameter) or ""
    return Artifact(uri, job, _mismatch(config, uri, metadata), algorithm, metadata, manifest)


def _mismatch(config: EnvironmentConfig, uri: str, metadata: Mapping[str, Any]) -> str:
    """How the model differs from what is configured, or from what its metadata describes."""
    if metadata.get("artifact_uri", uri) != uri:
        return f"the parameters beside it are of {metadata['artifact_uri']}, whose hand-over was interrupted"
    classes = tuple(metadata.get("classes", config.classes))
    if classes != config.classes:
        return f"it was trained for {', '.join(classes)}; configured are {', '.join(config.classes)}"
    trained_with: Mapping[str, str] = metadata.get("hyperparameters", {})
    trained_by = _trained_by(metadata)
    if trained_with and trained_by and trained_by != config.algorithm.name:
        return f"it was trained by {trained_by}; configured is {config.algorithm.name}"
    differing = [
        f"{name} {trained_with.get(name)} instead of {value}"
        for name, value in (hyperparameters(config).items() if trained_with else ())
        if trained_with.get(name) != value
    ]
    if differing:
        return f"it was trained with {', '.join(differing)}"
    if trained_with and config.algorithm.takes_code and f"-{parameters_digest(config)}-" not in metadata["job"]:
        return "it was trained by other code than that of model_src/"
    return ""


def _trained_by(metadata: Mapping[str, Any]) -> str:
    return container_of(metadata["image"]).algorithm if metadata.get("image") else ""


def baseline_problem(config: EnvironmentConfig, artifact: Artifact) -> str:
    """What is wrong with the baseline that drift is measured against; empty if it is the artifact's."""
    key = _parameter(config.baseline_parameter)
    if key is None:
        return f"{config.baseline_parameter} is not set: the drift monitor has nothing to compare with"
    if not key.startswith(f"{prefixes.MODELS}{artifact.job}/"):
        return f"{key} is of another model than {artifact.job}"
    return "" if _stored(artifact.bucket, key) else f"s3://{artifact.bucket}/{key} does not exist"


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
