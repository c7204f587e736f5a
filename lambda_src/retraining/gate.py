"""May the candidate take the incumbent's place? Accuracy, and whether a probability means what it says."""

from collections.abc import Sequence
from dataclasses import dataclass

from lambda_src.shared.predictions import best_class

BINS = 15


@dataclass(frozen=True)
class Result:
    """A model's answers to labelled images: how many were right, and its expected calibration error."""

    images: int
    accuracy: float
    calibration_error: float


@dataclass(frozen=True)
class Bounds:
    """What a candidate must keep to be released; shares between 0 and 1."""

    minimum_accuracy: float
    margin: float  # by which the candidate's accuracy may fall short of the incumbent's
    max_calibration_error: float


def result_of(answers: Sequence[Sequence[float]], labels: Sequence[int]) -> Result:
    """From the probabilities, in label order, of each image, and its label.

    Expected calibration error: the mean distance between confidence and accuracy in 15 equal bins of confidence,
    weighted by what is in them (C. Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3).
    """
    if not answers or len(answers) != len(labels):
        raise ValueError(f"{len(answers)} answers for {len(labels)} labels: each image needs one of both")
    predictions = [best_class(answer) for answer in answers]
    is_right = [predicted == label for (predicted, _), label in zip(predictions, labels, strict=True)]
    sums = [0.0] * BINS  # of accuracy minus confidence
    for (_, confidence), right in zip(predictions, is_right, strict=True):
        sums[min(int(confidence * BINS), BINS - 1)] += right - confidence
    return Result(
        images=len(answers),
        accuracy=sum(is_right) / len(answers),
        calibration_error=sum(map(abs, sums)) / len(answers),
    )


def reasons_against(candidate: Result, incumbent: Result, bounds: Bounds) -> list[str]:
    """Why the candidate must not be released; empty if it may."""
    reasons = []
    if candidate.accuracy < bounds.minimum_accuracy:
        reasons.append(f"accuracy {candidate.accuracy:.4f} is under the minimum of {bounds.minimum_accuracy}")
    if candidate.accuracy < incumbent.accuracy - bounds.margin:
        reasons.append(
            f"accuracy {candidate.accuracy:.4f} is more than {bounds.margin} under the incumbent's "
            f"{incumbent.accuracy:.4f}"
        )
    if candidate.calibration_error > bounds.max_calibration_error:
        reasons.append(
            f"calibration error {candidate.calibration_error:.4f} is above the bound of {bounds.max_calibration_error}"
        )
    return reasons
