"""The baseline of the current model: its own answers to the validation images, which drift is measured against.

Training tells no answers by image, so a Batch Transform job asks the trained model, before it serves anyone. The job
needs no endpoint, and its requests are in no data capture.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError, WaiterError

from data_prep import aws
from data_prep.errors import TrainingError
from data_prep.training import POLL_SECONDS, put_parameter
from lambda_src.drift import MIN_BASELINE, Baseline, BaselineError
from lambda_src.transform_output import parse_output
from stacks import prefixes
from stacks.config import EnvironmentConfig
from stacks.transform_job import transform_job_request

FILE = "baseline.json"
_MAX_POLLS = 3600


@dataclass(frozen=True)
class StoredBaseline:
    """Where a baseline lies, of how many answers it is, and whether it was computed just now."""

    key: str
    size: int
    is_new: bool


def store_baseline(config: EnvironmentConfig, *, force: bool = False) -> StoredBaseline:
    """Compute the current model's baseline, unless it is there, and tell the drift monitor of it.

    Raises TrainingError if there is no model, too few validation images, or if the job fails.
    """
    stack = aws.data_stack(config)
    model = _current_model(config)
    key = f"{prefixes.MODELS}{model['job']}/{FILE}"
    baseline = None if force else _stored(stack.bucket, key)
    is_new = baseline is None
    if baseline is None:
        baseline = _compute(config, stack, model)
        aws.s3().put_object(
            Bucket=stack.bucket, Key=key, Body=baseline.to_json().encode(), ContentType="application/json"
        )
    put_parameter(config.baseline_parameter, key)
    return StoredBaseline(key=key, size=baseline.size, is_new=is_new)


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


def _stored(bucket: str, key: str) -> Baseline | None:
    try:
        return Baseline.from_json(aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read())
    except aws.s3().exceptions.NoSuchKey:
        return None
    except BaselineError as error:
        raise TrainingError(f"s3://{bucket}/{key}: {error}; `--force` computes it anew") from None


def _compute(config: EnvironmentConfig, stack: aws.DataStack, model: dict[str, str]) -> Baseline:
    images = len(_keys(stack.bucket, prefixes.TEST))
    if images < MIN_BASELINE:
        raise TrainingError(
            f"s3://{stack.bucket}/{prefixes.TEST} has {images} images, but a baseline needs at least {MIN_BASELINE}: "
            "the drift monitor has nothing to compare with until there are more"
        )
    output = f"{prefixes.MODELS}{model['job']}/validation/"
    _transform(config, stack, model, output=output)
    answers = [
        parse_output(body, config.classes)
        for body in _bodies(stack.bucket, [key for key in _keys(stack.bucket, output) if key.endswith(".out")])
    ]
    if len(answers) != images:
        raise TrainingError(
            f"s3://{stack.bucket}/{output} has {len(answers)} answers for {images} images: run it again"
        )
    try:
        return Baseline.of(answers, classes=config.classes, artifact_uri=model["artifact_uri"])
    except BaselineError as error:
        raise TrainingError(str(error)) from None


def _transform(config: EnvironmentConfig, stack: aws.DataStack, model: dict[str, str], *, output: str) -> None:
    """Ask the model for every validation image; raises TrainingError."""
    sagemaker = aws.sagemaker()
    # Names of jobs are used up for ever
    name = f"{model['job']}-{datetime.now(UTC):%y%m%d%H%M%S}"
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=stack.sagemaker_role_arn,
        PrimaryContainer={"Image": model["image"], "ModelDataUrl": model["artifact_uri"]},
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
            "SageMaker. The model is trained and can be deployed; only drift is not watched."
        ) from None
    finally:
        sagemaker.delete_model(ModelName=name)


def _keys(bucket: str, prefix: str) -> list[str]:
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", []) if not entry["Key"].endswith("/")]


def _bodies(bucket: str, keys: list[str]) -> list[bytes]:
    with ThreadPoolExecutor(aws.MAX_CONNECTIONS) as pool:
        return list(pool.map(lambda key: aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read(), keys))
