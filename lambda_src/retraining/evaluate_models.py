"""EvaluateModels: compares candidate and incumbent by their Batch Transform outputs for the same validation images."""

from collections.abc import Mapping, Sequence
from typing import Any

from lambda_src.retraining import release
from lambda_src.retraining.data_set import validation_lines
from lambda_src.retraining.gate import Bounds, Result, reasons_against, slice_reasons
from lambda_src.retraining.lst_file import ListLine
from lambda_src.retraining.trained_model import Prediction, documents_of, read_predictions
from lambda_src.shared import aws, settings
from lambda_src.shared.model_documents import document_key


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Takes `{"candidate", "incumbent"}`, each `{"job", "artifact_uri", "output"}`; returns both results and the gate's
    reasons against a release. Stores each model's predictions and evaluation beside its artifact.

    Raises TransformOutputError or InvalidPredictionError.
    """
    lines = list(validation_lines(settings.bucket_name()))
    candidate, candidate_result = evaluate(event["candidate"], lines)
    incumbent, incumbent_result = evaluate(event["incumbent"], lines)
    bounds = Bounds(settings.minimum_accuracy(), settings.margin(), settings.max_calibration_error())
    return {
        "candidate": candidate_result,
        "incumbent": incumbent_result,
        "reasons": [
            *reasons_against(Result(**candidate_result), Result(**incumbent_result), bounds),
            *slice_reasons(slices(lines, candidate, incumbent), bounds),
        ],
    }


def evaluate(model: Mapping[str, str], lines: Sequence[ListLine]) -> tuple[list[Prediction], dict[str, Any]]:
    """A model's predictions for the validation images, in the order of `lines`, and its `Result` as a dictionary."""
    predictions = read_predictions(aws.s3(), settings.bucket_name(), model["output"], lines, classes=settings.classes())
    documents = documents_of(predictions, classes=settings.classes(), artifact_uri=model["artifact_uri"])
    if model["job"] != model["artifact_uri"]:  # an artifact outside `models/` has no folder for documents
        for name, content in documents.items():
            release.store_json(document_key(model["job"], name), content)
    return predictions, documents["evaluation"]


def slices(
    lines: Sequence[ListLine], candidate: Sequence[Prediction], incumbent: Sequence[Prediction]
) -> dict[str, list[tuple[bool, bool]]]:
    """By class and by source: for each image, whether the candidate and whether the incumbent is correct.

    A slice that contains all images is left out.
    """
    found: dict[str, list[tuple[bool, bool]]] = {}
    for line, new, old in zip(lines, candidate, incumbent, strict=True):
        for name in (f"class {settings.classes()[line.label]}", f"source {line.source}"):
            found.setdefault(name, []).append((new.is_correct, old.is_correct))
    return {name: images for name, images in found.items() if len(images) < len(lines)}
