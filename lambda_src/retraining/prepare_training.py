"""PrepareTraining: which training job is that of this data and these parameters?

A run that is done again after it was interrupted takes the job that it finds, and pays for no second one.
"""

from collections.abc import Mapping
from typing import Any

from lambda_src.retraining import release
from lambda_src.retraining.data_set_rules import MANIFEST_KEY
from lambda_src.retraining.training_attempts import base_name, find_attempt
from lambda_src.shared import aws, settings
from lambda_src.shared.model_documents import document_key


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Takes ValidateDataSet's output; returns the job's name and status, which is `New` for one to be started."""
    attempt = find_attempt(
        base_name(settings.stage_name(), event["data_digest"], settings.parameters_digest()),
        bucket=settings.bucket_name(),
        sagemaker=aws.sagemaker(),
        s3=aws.s3(),
    )
    if attempt.status == "New":  # beside the artifact lies what it was trained on
        release.store_json(document_key(attempt.name, "manifest"), manifest_of(event))
    return {"job": attempt.name, "status": attempt.status}


def manifest_of(data_set: Mapping[str, Any]) -> dict[str, Any]:
    """What data_prep wrote about this very data, or at least what is known of it."""
    manifest = release.stored_json(MANIFEST_KEY)
    if manifest and manifest["data_digest"] == data_set["data_digest"]:
        return manifest
    return {"classes": list(settings.classes()), "data_digest": data_set["data_digest"]}
