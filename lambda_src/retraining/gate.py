"""May the candidate take the incumbent's place? Accuracy, and whether a probability means what it says."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lambda_src.shared.predictions import best_class

BINS = 15
# How often chance alone may let a candidate as good as the incumbent fall on one of the slices
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Result:
    """A model's predictions for labelled images: how many were correct, and its expected calibration error."""

    images: int
    accuracy: float
    calibration_error: float


@dataclass(frozen=True)
class Bounds:
    """What a candidate must keep to be released; shares between 0 and 1."""

    minimum_accuracy: float
    margin: float  # by which the candidate's accuracy may fall short of the incumbent's
    max_calibration_error: float


def result_of(probabilities: Sequence[Sequence[float]], labels: Sequence[int]) -> Result:
    """From the probabilities, in label order, of each image, and its label.

    Expected calibration error: the mean distance between confidence and accuracy in 15 equal bins of confidence,
    weighted by what is in them (C. Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3).
    """
    if not probabilities or len(probabilities) != len(labels):
        raise ValueError(f"{len(probabilities)} predictions for {len(labels)} labels: each image needs one of both")
    predictions = [best_class(each) for each in probabilities]
    is_right = [predicted == label for (predicted, _), label in zip(predictions, labels, strict=True)]
    sums = [0.0] * BINS  # of accuracy minus confidence
    for (_, confidence), right in zip(predictions, is_right, strict=True):
        sums[min(int(confidence * BINS), BINS - 1)] += right - confidence
    return Result(
        images=len(probabilities),
        accuracy=sum(is_right) / len(probabilities),
        calibration_error=sum(map(abs, sums)) / len(probabilities),
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


def slice_reasons(slices: Mapping[str, Sequence[tuple[bool, bool]]], bounds: Bounds) -> Iterator[str]:
    """Where the candidate is worse than the incumbent by more than the margin, and has enough images to say so.

    slices: for each name, of each of its images whether the candidate and whether the incumbent is right.

    What is enough depends on the images that only one of the two gets right: if the models were equally good,
    each would have such an image with probability 1/2. This sign test is McNemar's in its exact form
    (https://doi.org/10.1007/BF02295996); its level is divided by the number of slices (Bonferroni).
    """
    for name, images in sorted(slices.items()):
        gained = sum(candidate and not incumbent for candidate, incumbent in images)
        lost = sum(incumbent and not candidate for candidate, incumbent in images)
        fall = (lost - gained) / len(images)
        if fall > bounds.margin and _chance_of(lost, gained) < SIGNIFICANCE / len(slices):
            accuracy = sum(candidate for candidate, _ in images) / len(images)
            yield (
                f"accuracy {accuracy:.4f} on the {len(images)} images of {name} is more than {bounds.margin} under the "
                f"incumbent's {accuracy + fall:.4f}"
            )


def _chance_of(lost: int, gained: int) -> float:
    """Of at least `lost` heads among `lost + gained` tosses of a fair coin."""
    tosses = lost + gained
    return sum(math.comb(tosses, heads) for heads in range(lost, tosses + 1)) / (1 << tosses)
