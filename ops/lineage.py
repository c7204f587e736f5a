"""The command `lineage`: finds the model that made a prediction, and what that model was trained on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_prep import aws as data_aws
from data_prep.options import EnvironmentName
from data_prep.terminal import print_whole, visible
from lambda_src.retraining.release import is_missing, job_of
from lambda_src.retraining.trained_model import training_accuracy
from lambda_src.shared.json_reader import read_json
from lambda_src.shared.model_documents import document_key
from lambda_src.shared.release_history import Record, read_records
from ops import aws
from ops.errors import OpsError
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared import prefixes


@dataclass(frozen=True)
class Model:
    """A model that was served. Members that are no longer known are empty. `accuracy` is on the validation images."""

    artifact_uri: str
    served_since: str
    training_job: str = ""
    data_digest: str = ""
    accuracy: float | None = None
    calibration_error: float | None = None
    image: str = ""  # repository and tag of the container that trained it
    code: str = ""  # prefix of the training code, unless it is the container's own


@dataclass(frozen=True)
class Lineage:
    """A prediction and the model behind it: two while an update was under way, as either may have served it."""

    prediction_key: str
    image: str
    label: str
    confidence: float
    predicted_at: str
    models: tuple[Model, ...]


def lineage(
    key: Annotated[str, typer.Argument(help="A prediction's key, such as predictions/incoming/bike.png/VERSION.json.")],
    env: EnvironmentName = "dev",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print where a prediction comes from: artifact, training job, data and accuracy."""
    found = trace(load_environment(env), key)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    for name, value in rows(found):
        table.add_row(name, Text(visible(value)))
    print_whole(Console(highlight=False), table)


def rows(found: Lineage) -> list[tuple[str, str]]:
    """Name and value of each line, in order."""
    lines = [
        ("prediction", found.prediction_key),
        ("image", found.image),
        ("label", f"{found.label}, confidence {found.confidence:.4f}"),
        ("predicted at", found.predicted_at),
    ]
    for number, model in enumerate(found.models):
        if number:
            lines.append(("or", "the update from one to the other was in progress"))
        accuracy = "unknown" if model.accuracy is None else f"{model.accuracy:.4f} on the validation images"
        if model.calibration_error is not None:
            accuracy += f", calibration error {model.calibration_error:.4f}"
        lines += [
            ("artifact", model.artifact_uri),
            ("served since", model.served_since),
            ("training job", model.training_job or "unknown"),
            ("data digest", model.data_digest or "unknown"),
            ("code", " ".join(filter(None, (model.image, model.code))) or "unknown"),
            ("accuracy", accuracy),
        ]
    return lines


def trace(config: EnvironmentConfig, key: str) -> Lineage:
    """Trace a prediction; raises OpsError if it does not exist, or if no model was in service at its time."""
    bucket, s3 = aws.bucket(config), aws.s3()
    try:
        stored = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
            raise
        raise OpsError(f"s3://{bucket}/{key} does not exist: predictions lie below {prefixes.PREDICTIONS}") from None
    try:
        prediction = read_json(stored["Body"], name=key)
        image = f"s3://{prediction['s3_bucket']}/{prediction['s3_key']}?versionId={prediction['s3_version_id']}"
        label, confidence = str(prediction["label"]), float(prediction["confidence"])
    except (ValueError, KeyError, TypeError) as error:
        raise OpsError(f"s3://{bucket}/{key} is no prediction: {error!r}") from None
    when = stored["LastModified"]
    served = serving_at(read_records(s3, bucket), when)
    if not served:
        raise OpsError(f"s3://{bucket}/{prefixes.RELEASES} knows of no model that was served at {when.isoformat()}")
    return Lineage(
        prediction_key=key,
        image=image,
        label=label,
        confidence=confidence,
        predicted_at=when.astimezone(UTC).isoformat(),
        models=tuple(model_of(bucket, record) for record in served),
    )


def serving_at(records: Sequence[Record], when: datetime) -> list[Record]:
    """The models that may have served at a time: the one in service, and during an update also its successor."""
    past = [record for record in records if datetime.fromisoformat(record.time) <= when]
    in_service = [record for record in past if record.is_in_service]
    if not in_service:
        return []
    found = [in_service[-1]]
    if not past[-1].is_in_service:  # an update had begun but not ended
        coming = [record for record in records[len(past) :] if record.is_in_service]
        if coming and coming[0].artifact_uri != found[0].artifact_uri:
            found.append(coming[0])
    return found


def model_of(bucket: str, record: Record) -> Model:
    """What is known about the model of a release record."""
    job = job_of(record.artifact_uri)
    sagemaker = data_aws.sagemaker()
    try:
        described = sagemaker.describe_training_job(TrainingJobName=job)
        listed = sagemaker.list_tags(ResourceArn=described["TrainingJobArn"])["Tags"]
    except ClientError as error:
        if not (is_missing(error) or error.response["Error"]["Code"] == "ValidationException"):
            raise
        return _of_no_job(bucket, record, job)
    tags = {tag["Key"]: tag["Value"] for tag in listed}
    manifest = read_document(bucket, document_key(job, "manifest"))
    evaluation = read_document(bucket, document_key(job, "evaluation"))
    return Model(
        artifact_uri=record.artifact_uri,
        served_since=record.time,
        training_job=job,
        data_digest=manifest.get("data_digest", tags.get("data-digest", "")),
        accuracy=evaluation.get("accuracy", training_accuracy(described)),
        calibration_error=evaluation.get("calibration_error"),
        image=described["AlgorithmSpecification"].get("TrainingImage", "").rpartition("/")[2],
        code=_code(described.get("InputDataConfig", [])),
    )


def _code(channels: Sequence[Any]) -> str:
    """The prefix of the channel `code`, or nothing."""
    found = [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in channels if channel["ChannelName"] == "code"]
    return str(found[0]) if found else ""


def _of_no_job(bucket: str, record: Record, job: str) -> Model:
    """A model without a training job in this account, with its origin if it was adopted."""
    adopted_from = read_document(bucket, document_key(job, "manifest")).get("adopted_from")
    if not adopted_from:
        return Model(record.artifact_uri, record.time)
    evaluation = read_document(bucket, document_key(job, "evaluation"))
    return Model(
        artifact_uri=record.artifact_uri,
        served_since=record.time,
        training_job=f"none here: adopted from {adopted_from}",
        accuracy=evaluation.get("accuracy"),
        calibration_error=evaluation.get("calibration_error"),
    )


def read_document(bucket: str, key: str) -> dict[str, Any]:
    """A document in the folder of a model's artifact; empty if there is none."""
    try:
        content: dict[str, Any] = read_json(aws.s3().get_object(Bucket=bucket, Key=key)["Body"], name=key)
    except aws.s3().exceptions.NoSuchKey:
        return {}
    return content
