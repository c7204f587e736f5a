"""EvaluateModels: candidate and incumbent on the same validation images, from their Batch Transform outputs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lambda_src.retraining import release
from lambda_src.retraining.data_set import validation_lines
from lambda_src.retraining.gate import Bounds, Result, reasons_against
from lambda_src.retraining.trained_model import documents_of, read_predictions
from lambda_src.shared import aws, settings
from lambda_src.shared.model_documents import document_key


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"candidate", "incumbent"}`, each `{"job", "artifact_uri", "output"}`; answers both results and the gate's
    reasons against a release. Leaves what follows from each model's predictions beside its artifact.

    Raises TransformOutputError or InvalidPredictionError.
    """
    results = {role: evaluate(event[role]) for role in ("candidate", "incumbent")}
    bounds = Bounds(settings.minimum_accuracy(), settings.margin(), settings.max_calibration_error())
    return {
        **{role: asdict(result) for role, result in results.items()},
        "reasons": reasons_against(results["candidate"], results["incumbent"], bounds),
    }


def evaluate(model: Mapping[str, str]) -> Result:
    lines = list(validation_lines(settings.bucket_name()))
    predictions = read_predictions(aws.s3(), settings.bucket_name(), model["output"], lines, classes=settings.classes())
    documents = documents_of(predictions, classes=settings.classes(), artifact_uri=model["artifact_uri"])
    if model["job"] != model["artifact_uri"]:  # an artifact from elsewhere has no place of its own
        for name, content in documents.items():
            release.store_json(document_key(model["job"], name), content)
    return Result(**documents["evaluation"])
