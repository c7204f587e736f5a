"""Computes the current model's baseline: its predictions for the validation images, which drift is measured against.

Training does not report a prediction for each image, so a Batch Transform job runs the trained model. The job needs no
endpoint, and its requests are not captured. This module also stores the other documents that retraining stores for each
model that it evaluates (lambda_src/retraining/trained_model.py).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError, WaiterError

from data_prep import aws
from data_prep.dataset import LISTS
from data_prep.errors import TrainingError
from data_prep.options import AsJson, EnvironmentName
from data_prep.terminal import show
from data_prep.training import POLL_SECONDS, put_parameter
from lambda_src.retraining.errors import TransformOutputError
from lambda_src.retraining.lst_file import ListLine, parse_lines
from lambda_src.retraining.trained_model import documents_of, read_predictions
from lambda_src.shared.algorithms import container_of
from lambda_src.shared.baseline import MIN_BASELINE, Baseline, BaselineError
from lambda_src.shared.errors import InvalidPredictionError
from lambda_src.shared.model_documents import document_key
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared import prefixes
from stacks.shared.transform_job import transform_job_request

_MAX_POLLS = 3600


@dataclass(frozen=True)
class StoredBaseline:
    """A baseline's key, its number of predictions, and whether it has just been computed."""

    key: str
    size: int
    is_new: bool


def baseline(
    *,
    env: EnvironmentName = "dev",
    force: Annotated[bool, typer.Option("--force", help="Compute it even if it exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute the baseline for drift: the trained model's predictions for the validation images.

    A Batch Transform job computes them, on one instance of bulk.transform_instance_type.
    """
    config = load_environment(env)
    stored = store_baseline(config, force=force)
    text = f"{stored.key}\n{stored.size} predictions{'' if stored.is_new else ', computed before'}"
    show(asdict(stored), text, as_json=as_json)


def store_baseline(config: EnvironmentConfig, *, force: bool = False) -> StoredBaseline:
    """Compute the current model's baseline unless it exists, and set it as the drift monitor's.

    Raises TrainingError if there is no model, too few validation images, or if the job fails.
    """
    stored = baseline_of(config, _current_model(config), force=force)
    put_parameter(config.baseline_parameter, stored.key)
    return stored


def baseline_of(config: EnvironmentConfig, model: Mapping[str, Any], *, force: bool = False) -> StoredBaseline:
    """Compute a model's baseline and the other documents unless the baseline exists.

    model: its `job`, `artifact_uri` and `image`. Raises TrainingError.
    """
    stack = aws.data_stack(config)
    size = None if force else _stored_size(stack.bucket, model["job"])
    is_new = size is None
    if size is None:
        size = _compute(config, stack, model)
    return StoredBaseline(key=document_key(model["job"], "baseline"), size=size, is_new=is_new)


def _current_model(config: EnvironmentConfig) -> dict[str, str]:
    """Job, artifact and image of the model that training handed over last."""
    try:
        value = aws.ssm().get_parameter(Name=config.model_metadata_parameter)["Parameter"]["Value"]
    except aws.ssm().exceptions.ParameterNotFound:
        raise TrainingError(
            f"environment {config.name!r} has no model yet: run `python -m data_prep train --env {config.name}` first"
        ) from None
    model: dict[str, str] = json.loads(value)
    return model


def _stored_size(bucket: str, job: str) -> int | None:
    """The number of predictions in the model's baseline; None if the baseline or the predictions do not exist."""
    key = document_key(job, "baseline")
    try:
        baseline = Baseline.from_json(aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read())
        aws.s3().head_object(Bucket=bucket, Key=document_key(job, "predictions"))
    except BaselineError as error:
        raise TrainingError(f"s3://{bucket}/{key}: {error}; `--force` computes it again") from None
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
            raise
        return None
    return baseline.size


def _compute(config: EnvironmentConfig, stack: aws.DataStack, model: Mapping[str, Any]) -> int:
    """Run the model, and store the documents; returns the number of predictions."""
    lines = _validation_lines(stack.bucket)
    if len(lines) < MIN_BASELINE:
        raise TrainingError(
            f"s3://{stack.bucket}/{LISTS['test']} has {len(lines)} images, but a baseline needs at least "
            f"{MIN_BASELINE}: the drift monitor has nothing to compare with until there are more"
        )
    output = f"{prefixes.MODELS}{model['job']}/validation/"
    _transform(config, stack, model, output=output)
    try:
        predictions = read_predictions(aws.s3(), stack.bucket, output, lines, classes=config.classes)
        documents = documents_of(predictions, classes=config.classes, artifact_uri=model["artifact_uri"])
    except (TransformOutputError, InvalidPredictionError, BaselineError) as error:
        raise TrainingError(str(error)) from None
    for name, content in documents.items():
        body = json.dumps(content, indent=2).encode()
        key = document_key(model["job"], name)
        aws.s3().put_object(Bucket=stack.bucket, Key=key, Body=body, ContentType="application/json")
    return len(predictions)


def _validation_lines(bucket: str) -> list[ListLine]:
    """The lines that name the validation images; other objects below the prefix do not count."""
    try:
        text = aws.s3().get_object(Bucket=bucket, Key=LISTS["test"])["Body"].read().decode()
    except aws.s3().exceptions.NoSuchKey:
        text = ""
    return [line for _, line in parse_lines(text.splitlines()) if isinstance(line, ListLine)]


def transform_job_name(training_job: str, now: datetime) -> str:
    """A new name each time, because SageMaker never accepts the same job name again."""
    return f"{training_job}-{now:%y%m%d%H%M%S}"


def _transform(config: EnvironmentConfig, stack: aws.DataStack, model: Mapping[str, Any], *, output: str) -> None:
    """Run the model over every validation image; raises TrainingError."""
    sagemaker = aws.sagemaker()
    name = transform_job_name(model["job"], datetime.now(UTC))
    sagemaker.create_model(
        ModelName=name,
        EnableNetworkIsolation=True,
        ExecutionRoleArn=stack.sagemaker_role_arn,
        PrimaryContainer={
            "Image": model["image"],
            "Environment": dict(container_of(model["image"]).serving_environment),
            "ModelDataUrl": model["artifact_uri"],
        },
    )
    try:
        sagemaker.create_transform_job(
            **transform_job_request(
                config,
                job_name=name,
                model=name,
                source_type="S3Prefix",
                source_uri=f"s3://{stack.bucket}/{prefixes.TEST}",
                output_uri=f"s3://{stack.bucket}/{output.rstrip('/')}",
                key_arn=stack.key_arn,
            )
        )
        sagemaker.get_waiter("transform_job_completed_or_stopped").wait(
            TransformJobName=name, WaiterConfig={"Delay": POLL_SECONDS, "MaxAttempts": _MAX_POLLS}
        )
    except WaiterError:
        reason = sagemaker.describe_transform_job(TransformJobName=name).get("FailureReason", "no reason given")
        raise TrainingError(f"transform job {name} failed: {reason}") from None
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceLimitExceeded":
            raise
        raise TrainingError(
            f"the account's quota does not allow the transform job: {error.response['Error']['Message']}\n"
            f'Ask for "{config.bulk.transform_instance_type} for transform job usage" under Service Quotas, Amazon '
            "SageMaker. The model is trained and can be deployed; only drift is not monitored."
        ) from None
    finally:
        sagemaker.delete_model(ModelName=name)
