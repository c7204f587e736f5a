"""PrepareTraining: which training job is that of this data and these parameters?

A run that is done again after it was interrupted takes the job that it finds, and pays for no second one.
"""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from lambda_src import aws, release, settings
from lambda_src.validate_data_set import MANIFEST_KEY


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Takes ValidateDataSet's answer; answers the job's name and status, which is `None` for one to be started."""
    job, status = find_job(event["data_digest"])
    if status == "None":  # beside the artifact lies what it was trained on
        release.store_json(f"models/{job}/manifest.json", manifest_of(event))
    return {"job": job, "status": status}


def find_job(data_digest: str) -> tuple[str, str]:
    """Name and status of the last attempt, or the name of the next one; a failed attempt is followed by another."""
    base = f"{settings.retraining().stage_name}-{data_digest[:8]}-{settings.retraining().parameters_digest}"
    attempt = 1
    while True:
        name = f"{base}-{attempt}"
        try:
            status = aws.sagemaker().describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
        except ClientError as error:
            if not release.is_missing(error):
                raise
            return name, "None"
        if status in {"Completed", "InProgress", "Stopping"}:
            return name, "InProgress" if status == "Stopping" else status
        attempt += 1


def manifest_of(data_set: Mapping[str, Any]) -> dict[str, Any]:
    """What data_prep wrote about this very data, or at least what is known of it."""
    manifest = release.stored_json(MANIFEST_KEY)
    if manifest and manifest["data_digest"] == data_set["data_digest"]:
        return manifest
    return {"classes": list(settings.retraining().classes), "data_digest": data_set["data_digest"]}
