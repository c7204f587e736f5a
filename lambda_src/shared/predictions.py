"""The prediction for one image: its probabilities, its best class, and the confidence rule."""

import math
from collections.abc import Sequence

from lambda_src.shared.errors import InvalidPredictionError
from lambda_src.shared.json_reader import parse_json

# The rounding error of a float32 softmax over 100 classes is far smaller
SUM_TOLERANCE = 1e-3


def parse_probabilities(body: bytes | str, classes: tuple[str, ...]) -> list[float]:
    """One finite probability per class, in label order, that sum to 1; raises InvalidPredictionError."""
    try:
        response = parse_json(body)
    except ValueError as error:
        raise InvalidPredictionError(f"the model's response is not JSON: {body[:60]!r}") from error
    if not isinstance(response, list) or len(response) != len(classes):
        raise InvalidPredictionError(
            f"the model must return {len(classes)} probabilities ({', '.join(classes)}), not {body[:60]!r}"
        )
    if not all(type(p) in {int, float} and 0 <= p <= 1 + SUM_TOLERANCE for p in response):
        raise InvalidPredictionError(f"the model's response is not a list of probabilities: {body[:60]!r}")
    probabilities = [float(p) for p in response]
    if abs(math.fsum(probabilities) - 1) > SUM_TOLERANCE:
        raise InvalidPredictionError(f"the model's probabilities sum to {math.fsum(probabilities):.4f}, not to 1")
    return probabilities


def best_class(probabilities: Sequence[float]) -> tuple[int, float]:
    """Index and probability of the most likely class; the first of several that are equally likely."""
    confidence = max(probabilities)
    return probabilities.index(confidence), confidence


def is_accepted(confidence: float, threshold: float) -> bool:
    """The confidence rule: a prediction is accepted if its confidence reaches the threshold."""
    return confidence >= threshold
