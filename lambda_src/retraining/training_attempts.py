"""Finds the training job to reuse for given data and parameters, or names the next one.

The names are STAGE-DATA-PARAMETERS-NUMBER. SageMaker keeps a job's name forever, but its artifact is deleted with the
bucket, so a completed job can be reused only if its artifact exists. data_prep and the retraining workflow both use
this module, so that each reuses what the other has trained.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from lambda_src.retraining.release import is_missing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient


@dataclass(frozen=True)
class Attempt:
    """A training job that is running, that has a model, or that must be started."""

    name: str
    status: Literal["New", "InProgress", "Completed"]


def base_name(stage_name: str, data_digest: str, parameters_digest: str) -> str:
    """The prefix of the names of all attempts."""
    return f"{stage_name}-{data_digest[:8]}-{parameters_digest}"


def find_attempt(
    base: str, *, bucket: str, sagemaker: "SageMakerClient", s3: "S3Client", force: bool = False
) -> Attempt:
    """The newest attempt that is running, or has completed and has its artifact; a new one if there is none.

    force: always a new one.
    """
    statuses = _statuses(base, sagemaker)
    if not force:
        with_artifact = _with_artifact(base, bucket, s3)
        for number, status in sorted(statuses.items(), reverse=True):
            if status in {"InProgress", "Stopping"}:
                return Attempt(f"{base}-{number}", "InProgress")
            if status == "Completed" and number in with_artifact:
                return Attempt(f"{base}-{number}", "Completed")
    return Attempt(f"{base}-{max(statuses, default=0) + 1}", "New")


def _statuses(base: str, sagemaker: "SageMakerClient") -> dict[int, str]:
    """The status of each attempt by its number. The list may lag behind, so the newest are described one by one."""
    pages = sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains=f"{base}-", PaginationConfig={"PageSize": 100}
    )
    name = re.compile(rf"{re.escape(base)}-(\d+)")
    statuses = {
        int(match[1]): str(job["TrainingJobStatus"])
        for page in pages
        for job in page["TrainingJobSummaries"]
        if (match := name.fullmatch(job["TrainingJobName"]))
    }
    number = max(statuses, default=1)
    while status := _described_status(f"{base}-{number}", sagemaker):
        statuses[number] = status
        number += 1
    return statuses


def _described_status(name: str, sagemaker: "SageMakerClient") -> str:
    """The job's status; "" if it does not exist."""
    try:
        return sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
    except ClientError as error:
        if not is_missing(error):
            raise
        return ""


def _with_artifact(base: str, bucket: str, s3: "S3Client") -> set[int]:
    """The numbers of the attempts whose artifact is in the bucket."""
    artifact = re.compile(rf"models/{re.escape(base)}-(\d+)/output/model\.tar\.gz")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"models/{base}-")
    keys = (entry["Key"] for page in pages for entry in page.get("Contents", []))
    return {int(match[1]) for key in keys if (match := artifact.fullmatch(key))}
