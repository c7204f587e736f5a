"""The model artifact that the next deployment of an environment serves, and whether it fits the configuration."""

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
    """The artifact that training handed over last.

    mismatch: how it differs from the configuration; empty if it can be served as configured.
    algorithm: the algorithm whose container a deployment would serve it with; empty if the parameter is missing.
    metadata: the content of the environment's metadata parameter (lambda_src/retraining/trained_model.py).
    manifest: the manifest beside the artifact: data_prep's, or retraining's for data that was changed in the bucket;
    empty if there is none.
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
        """Its origin, as a relative clause."""
        adopted_from = self.manifest.get("adopted_from")
        return f"which was adopted from {adopted_from}" if adopted_from else "which was trained as configured"

    @property
    def is_of_an_archive(self) -> bool:
        """Whether all its training data is from an archive."""
        return "archive" in self.manifest

    @property
    def is_synthetic(self) -> bool:
        """Whether it was trained on synthetic images."""
        return bool(self.manifest.get("archive", {}).get("is_synthetic"))


def current_artifact(config: EnvironmentConfig) -> Artifact | None:
    """The artifact that training handed over last; None if there is none yet."""
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
    """How the model differs from the configuration or from its metadata; "" if it does not."""
    if metadata.get("artifact_uri", uri) != uri:
        return f"the other parameters describe {metadata['artifact_uri']}, whose hand-over was interrupted"
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
        return "it was trained by another version of model_src/"
    return ""


def _trained_by(metadata: Mapping[str, Any]) -> str:
    return container_of(metadata["image"]).algorithm if metadata.get("image") else ""


def baseline_problem(config: EnvironmentConfig, artifact: Artifact) -> str:
    """What is wrong with the baseline that drift is measured against; "" if it belongs to the artifact."""
    key = _parameter(config.baseline_parameter)
    if key is None:
        return f"{config.baseline_parameter} is not set: the drift monitor has nothing to compare with"
    if not key.startswith(f"{prefixes.MODELS}{artifact.job}/"):
        return f"{key} belongs to another model than {artifact.job}"
    return "" if _stored(artifact.bucket, key) else f"s3://{artifact.bucket}/{key} does not exist"


def _stored(bucket: str, key: str) -> bytes:
    """An object's content; empty if it does not exist."""
    try:
        return aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except aws.s3().exceptions.NoSuchKey:
        return b""


def _parameter(name: str) -> str | None:
    try:
        return aws.ssm().get_parameter(Name=name)["Parameter"]["Value"]
    except aws.ssm().exceptions.ParameterNotFound:
        return None
