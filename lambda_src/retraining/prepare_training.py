"""PrepareTraining: finds the training job for this data and these parameters, or names a new one.

A run that repeats an interrupted one reuses that run's job instead of paying for a second one.
"""

from collections.abc import Mapping
from typing import Any

from lambda_src.retraining import release
from lambda_src.retraining.data_set_rules import MANIFEST_KEY
from lambda_src.retraining.training_attempts import base_name, find_attempt
from lambda_src.shared import aws, settings
from lambda_src.shared.model_documents import document_key


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Takes ValidateDataSet's output; returns the job's name and status. `New` means that the job must be started."""
    attempt = find_attempt(
        base_name(settings.stage_name(), event["data_digest"], settings.parameters_digest()),
        bucket=settings.bucket_name(),
        sagemaker=aws.sagemaker(),
        s3=aws.s3(),
    )
    if attempt.status == "New":  # record what the job is trained on, beside its artifact
        release.store_json(document_key(attempt.name, "manifest"), manifest_of(event))
    return {"job": attempt.name, "status": attempt.status}


def manifest_of(data_set: Mapping[str, Any]) -> dict[str, Any]:
    """data_prep's manifest if it describes this data; otherwise classes and digest."""
    manifest = release.stored_json(MANIFEST_KEY)
    if manifest and manifest["data_digest"] == data_set["data_digest"]:
        return manifest
    return {"classes": list(settings.classes()), "data_digest": data_set["data_digest"]}
