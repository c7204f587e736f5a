"""The workflow's own record of a prediction. It replaces data capture, which a serverless endpoint does not have.

FilterConfidence writes a line of metrics for every prediction, accepted or rejected. The record is two more members of
that line, so it needs no second write, and CloudWatch Logs finds it by time. docs/cost.md has its cost.

    {"_aws": {...}, "ImagesAccepted": 1, "Confidence": 0.97, "InferenceId": "<64 hex>", "Probabilities": [0.97, 0.03]}
"""

from collections.abc import Sequence
from typing import Any

from lambda_src.shared.item import ImageRef

INFERENCE_ID = "InferenceId"
PROBABILITIES = "Probabilities"


def record_of(image: ImageRef, probabilities: Sequence[float]) -> dict[str, Any]:
    """The two members. `probabilities` are in label order."""
    return {INFERENCE_ID: image.inference_id, PROBABILITIES: list(probabilities)}
