"""Starts SageMaker training jobs, follows them, and publishes their model to the stacks.

A job's name consists of the environment and the digests of data and parameters, so that the same command finds the job
of an interrupted run instead of starting, and paying for, a second one.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from data_prep import aws
from data_prep.dataset import MANIFEST, Manifest
from data_prep.errors import DataSetError, InstanceRefusedError, TrainingError
from data_prep.instances import InstanceTypes
from data_prep.progress import Progress, silent
from data_prep.target import current_target
from data_prep.upload import compare, upload_code
from data_prep.validate import validate_dataset
from lambda_src.retraining.release import is_missing
from lambda_src.retraining.trained_model import TrainedModel, training_accuracy
from lambda_src.retraining.training_attempts import base_name, find_attempt
from lambda_src.shared.model_documents import document_key
from stacks.config import EnvironmentConfig
from stacks.retraining.training_job import INSTANCE_REFUSED, training_job_request, training_resources
from stacks.shared import prefixes
from stacks.shared.algorithm import Algorithm
from stacks.shared.hyperparameters import hyperparameters, parameters_digest

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeTrainingJobResponseTypeDef

POLL_SECONDS = 2

_LOG_GROUP = "/aws/sagemaker/TrainingJobs"
# What the algorithm prints after each epoch, and what its metric is read from
_EPOCH = re.compile(r"Epoch\[(\d+)\] Validation-accuracy=([0-9.]+)")


@dataclass(frozen=True)
class JobState:
    """A training job as it is now; `accuracies` are the validation accuracies by epoch."""

    name: str
    status: str
    secondary_status: str
    message: str
    instance_type: str
    training_seconds: int
    billable_seconds: int
    accuracies: dict[int, float]
    failure_reason: str
    artifact_uri: str


def start_training(
    config: EnvironmentConfig,
    folder: Path,
    *,
    instances: InstanceTypes,
    force: bool = False,
    progress: Progress = silent,
) -> tuple[str, bool]:
    """Start the job for this data and these parameters; returns its name, and whether it is new.

    Without `force`, an earlier job for the same data and parameters is reused if it is running or has a model. If
    SageMaker refuses an instance type, the next of `instances` is tried. Raises DataSetError, UploadError or
    TrainingError before it starts a job that would fail.
    """
    manifest = Manifest.load(folder)
    _check_configuration(config, folder, manifest)
    stack = aws.data_stack(config)
    image = image_uri(config.algorithm, stack.region)
    base = base_name(config.stage_name, manifest.data_digest, parameters_digest(config))
    attempt = find_attempt(base, bucket=stack.bucket, sagemaker=aws.sagemaker(), s3=aws.s3(), force=force)
    name = attempt.name
    if attempt.status != "New":
        return name, False

    _check_data_set(config, folder, stack.bucket, progress)
    upload_code(config, stack.bucket)
    # The artifact's folder also gets the manifest of its training data
    aws.s3().put_object(Bucket=stack.bucket, Key=document_key(name, "manifest"), Body=(folder / MANIFEST).read_bytes())
    request = training_job_request(
        config,
        job_name=name,
        bucket=stack.bucket,
        role_arn=stack.sagemaker_role_arn,
        image=image,
        num_training_samples=str(manifest.splits["train"].total),
        resources=training_resources(instances.current, stack.key_arn),
        # The next attempt continues a spot job that ran out of time; a forced one starts from the beginning
        checkpoint_uri=f"s3://{stack.bucket}/{prefixes.MODELS}{name if force else base}/checkpoints/",
        tags={"data-digest": manifest.data_digest},
        key_arn=stack.key_arn,
    )
    while True:
        try:
            aws.sagemaker().create_training_job(**request)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            if code == "ResourceInUse":  # another run of this command was faster
                return name, False
            if not re.search(INSTANCE_REFUSED, f"{code}: {message}"):
                raise _refused(config, stack.sagemaker_role_arn, error) from None
            instances.refuse(instances.current, message)
            request["ResourceConfig"] = training_resources(instances.current, stack.key_arn)
        else:
            return name, True


def _check_configuration(config: EnvironmentConfig, folder: Path, manifest: Manifest) -> None:
    """Raise DataSetError or TrainingError if the data set does not fit the environment's classes or hyperparameters."""
    if manifest.classes != config.classes:
        raise DataSetError(
            f"{folder}: holds the classes {', '.join(manifest.classes)}, but environment {config.name!r} has "
            f"{', '.join(config.classes)}, in this order; `python -m data_prep build --env {config.name}` builds it"
        )
    samples = manifest.splits["train"].total
    batch = hyperparameters(config).get("mini_batch_size")
    if batch is not None and not (batch.isdecimal() and 1 <= int(batch) <= samples):
        raise TrainingError(
            f"mini_batch_size is {batch}, but must be from 1 to the {samples} training images: "
            "set training.hyperparameters.mini_batch_size in cdk.json"
        )


def _check_data_set(config: EnvironmentConfig, folder: Path, bucket: str, progress: Progress) -> None:
    """Raise DataSetError if the data set has problems, or the bucket has another."""
    report = validate_dataset(folder, classes=config.classes, progress=progress)
    if not report.is_valid:
        first = report.problems[0]
        raise DataSetError(
            f"{folder}: has {len(report.problems)} problems, the first is {first.file}: {first.reason}; "
            f"`python -m data_prep validate {folder}` shows all"
        )
    difference = compare(folder, bucket)
    if not difference.is_equal:
        raise DataSetError(
            f"s3://{bucket}: {len(difference.changed)} of {difference.files} files differ from {folder} or are "
            f"missing, {len(difference.extra)} are too many: run `python -m data_prep upload --env {config.name}`"
        )


# The registries' domains by partition. The SageMaker SDK has them too, but importing it takes seconds.
_DOMAINS = {
    "aws": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-us-gov": "amazonaws.com",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-f": "csp.hci.ic.gov",
}


def image_uri(algorithm: Algorithm, region: str) -> str:
    """The algorithm's container image in a region; raises TrainingError if AWS has none there."""
    if region not in algorithm.registry_accounts:
        raise TrainingError(f"AWS has no image of {algorithm.name} in {region}: deploy to another region")
    domain = _DOMAINS[_session().get_partition_for_region(region)]
    registry = f"{algorithm.registry_accounts[region]}.dkr.ecr.{region}.{domain}"
    return f"{registry}/{algorithm.container.repository}:{algorithm.tag}"


@cache
def _session() -> boto3.Session:
    return boto3.Session()


def _refused(config: EnvironmentConfig, role_arn: str, error: ClientError) -> Exception:
    """Why SageMaker did not take the job, with what to do."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if "PassRole" in message:
        return TrainingError(f"the caller may not pass SageMaker its role; it needs iam:PassRole on {role_arn}")
    if code == "ValidationException" and "role" in message.lower():
        return TrainingError(
            f"SageMaker cannot assume its role: {message}\nDeploy it again with `cdk deploy {config.name}/Data`."
        )
    return error


def job_state(job_name: str) -> JobState:
    """The current state of a job; raises TrainingError if it does not exist."""
    job = _describe(job_name)
    transitions = job.get("SecondaryStatusTransitions", [])
    return JobState(
        name=job_name,
        status=job["TrainingJobStatus"],
        secondary_status=job["SecondaryStatus"],
        message=transitions[-1].get("StatusMessage", "") if transitions else "",
        instance_type=job["ResourceConfig"].get("InstanceType", ""),
        training_seconds=job.get("TrainingTimeInSeconds", 0),
        billable_seconds=job.get("BillableTimeInSeconds", 0),
        accuracies=_accuracies(job_name),
        failure_reason=job.get("FailureReason", ""),
        artifact_uri=job.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""),
    )


def _describe(job_name: str) -> "DescribeTrainingJobResponseTypeDef":
    try:
        return aws.sagemaker().describe_training_job(TrainingJobName=job_name)
    except ClientError as error:
        if not is_missing(error):
            raise
        raise TrainingError(
            f"there is no training job {job_name} in {current_target()}; `aws sagemaker list-training-jobs` shows them"
        ) from None


def _accuracies(job_name: str) -> dict[int, float]:
    """The accuracy by epoch, from the job's log: CloudWatch metrics have one value per minute, which is many epochs."""
    pages = aws.logs().get_paginator("filter_log_events")
    try:
        return {
            int(match[1]): float(match[2])
            for page in pages.paginate(
                logGroupName=_LOG_GROUP, logStreamNamePrefix=f"{job_name}/", filterPattern='"Validation-accuracy"'
            )
            for event in page["events"]
            if (match := _EPOCH.search(event["message"]))
        }
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return {}  # the account's first job has not written yet


def wait_for_job(
    config: EnvironmentConfig,
    job_name: str,
    show: Callable[[JobState], None],
    sleep: Callable[[float], None] = time.sleep,
) -> JobState:
    """Follow a job of this environment to its end, showing each state.

    Raises TrainingError if the job is another's or ends without a model, InstanceRefusedError if AWS had no instance.
    """
    if not re.fullmatch(rf"{re.escape(config.stage_name)}(-[0-9a-f]{{8}}){{2}}-\d+", job_name):
        raise TrainingError(
            f"{job_name!r} is no job of environment {config.name!r}: "
            f"those are called {config.stage_name}-DATA-PARAMETERS-NUMBER"
        )
    while True:
        state = job_state(job_name)
        show(state)
        if state.status == "Completed":
            return state
        if state.status in ("Failed", "Stopped"):
            ended = f"{job_name} ended as {state.secondary_status}: {_reason_and_way_out(state, config.name)}"
            if re.search(INSTANCE_REFUSED, state.failure_reason):
                raise InstanceRefusedError(ended, instance_type=state.instance_type, reason=state.failure_reason)
            raise TrainingError(ended)
        sleep(POLL_SECONDS)


_WAYS_OUT = (
    (
        INSTANCE_REFUSED,
        "Without `--resume` the same command goes on to the next of training.instance_types in cdk.json.",
    ),
    (
        "MaxWaitTimeExceeded",
        "Spot instances were interrupted or not to be had. The same command continues from the last checkpoint; "
        "`--no-spot` does not wait for them.",
    ),
    (
        "MaxRuntimeExceeded",
        "Raise training.max_runtime_minutes in cdk.json, or train fewer epochs.",
    ),
    (
        "batch",
        "Set training.hyperparameters.mini_batch_size in cdk.json to at most the number of images of a split.",
    ),
    (
        "AccessDenied|Access Denied|NoSuchBucket|not authorized",
        "SageMaker's role is missing a permission: deploy it again with `cdk deploy {environment}/Data`.",
    ),
    (
        "InternalServerError",
        "The failure is SageMaker's: start it again with the same command.",
    ),
)


def _reason_and_way_out(state: JobState, environment: str) -> str:
    reason = state.failure_reason or state.message or "no reason given"
    for pattern, way_out in _WAYS_OUT:
        if re.search(pattern, f"{state.secondary_status} {reason}", re.IGNORECASE):
            return f"{reason}\n{way_out.format(environment=environment)}"
    return f"{reason}\nIts log: CloudWatch log group {_LOG_GROUP}, streams {state.name}/"


def publish_model(config: EnvironmentConfig, state: JobState) -> TrainedModel:
    """Hand the artifact of a completed job to the model stack, by updating its SSM parameters.

    Raises TrainingError if the job was trained on other classes than the environment has now.
    """
    job = _describe(state.name)
    bucket = aws.data_stack(config).bucket
    content = aws.s3().get_object(Bucket=bucket, Key=document_key(state.name, "manifest"))["Body"].read()
    manifest: dict[str, Any] = json.loads(content)
    classes = tuple(manifest["classes"])
    if classes != config.classes:
        raise TrainingError(
            f"{state.name} was trained on {', '.join(classes)}, but environment {config.name!r} has "
            f"{', '.join(config.classes)}: train a new model, or set the classes in cdk.json back"
        )
    accuracies = [*state.accuracies.values(), training_accuracy(job)]
    model = TrainedModel.of(
        job,
        classes=classes,
        data_digest=manifest["data_digest"],
        accuracy=max((accuracy for accuracy in accuracies if accuracy is not None), default=None),
    )
    hand_over(config, model)
    return model


def hand_over(config: EnvironmentConfig, model: TrainedModel, *, baseline_key: str = "") -> None:
    """Make it the environment's model, with its baseline if there is one."""
    put_parameter(config.model_metadata_parameter, json.dumps(asdict(model)))
    if baseline_key:
        put_parameter(config.baseline_parameter, baseline_key)
    # Algorithm and artifact last, because deployments read them
    put_parameter(config.model_algorithm_parameter, model.algorithm)
    put_parameter(config.artifact_parameter, model.artifact_uri)


def put_parameter(name: str, value: str) -> None:
    """Set an SSM parameter, unless it has the value already."""
    client = aws.ssm()
    try:
        if client.get_parameter(Name=name)["Parameter"]["Value"] == value:
            return
    except client.exceptions.ParameterNotFound:
        pass
    client.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
