"""PrepareEvaluation: the candidate as a model beside the one that is served."""

from collections.abc import Mapping
from typing import Any

from lambda_src import release, settings


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"job"}`; answers `candidate` and `incumbent`, and whether the candidate is served already, or released.

    It is served but not released when an earlier run was interrupted between the two. Raises EndpointBusyError,
    EndpointNotServingError or TrainingJobMissingError.
    """
    job = release.training_job(event["job"])
    incumbent = release.served()
    artifact_uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    return {
        "candidate": {
            "job": job["TrainingJobName"],
            "artifact_uri": artifact_uri,
            "model": release.ensure_model(job, incumbent),
            "image": job["AlgorithmSpecification"]["TrainingImage"],
        },
        "incumbent": incumbent.as_dict(),
        "is_served": incumbent.artifact_uri == artifact_uri,
        "is_released": release.parameter(settings.retraining().artifact_parameter) == artifact_uri,
    }
