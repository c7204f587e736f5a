"""The workflow's own record of a prediction, for an endpoint that captures none: a serverless one.

FilterConfidence writes a line of metrics for every prediction, accepted or rejected, so the record is two more members
of that line: no second write, and CloudWatch Logs finds lines by time. Its cost: docs/cost.md.

    {"_aws": {...}, "ImagesAccepted": 1, "Confidence": 0.97, "InferenceId": "<64 hex>", "Probabilities": [0.97, 0.03]}
"""

from collections.abc import Sequence
from typing import Any

from lambda_src.shared.item import ImageRef

INFERENCE_ID = "InferenceId"
PROBABILITIES = "Probabilities"


def record_of(image: ImageRef, probabilities: Sequence[float]) -> dict[str, Any]:
    """The members of the line. `probabilities` are in label order."""
    return {INFERENCE_ID: image.inference_id, PROBABILITIES: list(probabilities)}
