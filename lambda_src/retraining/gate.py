"""The gate: whether the candidate may replace the incumbent, by accuracy and by calibration."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lambda_src.shared.predictions import best_class

BINS = 15
# The probability that chance alone rejects a candidate that is as good as the incumbent, over all slices
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Result:
    """The evaluation of a model: the number of images, the share of correct predictions, the calibration error."""

    images: int
    accuracy: float
    calibration_error: float


@dataclass(frozen=True)
class Bounds:
    """The bounds for a release; all are between 0 and 1."""

    minimum_accuracy: float
    margin: float  # by which the candidate's accuracy may fall short of the incumbent's
    max_calibration_error: float


def result_of(probabilities: Sequence[Sequence[float]], labels: Sequence[int]) -> Result:
    """Evaluate predictions: for each image its probabilities, in label order, and its label.

    The expected calibration error is the mean distance between confidence and accuracy in 15 equal bins of confidence,
    weighted by their number of images (C. Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3). Raises
    ValueError if there are no images, or not as many labels.
    """
    if not probabilities or len(probabilities) != len(labels):
        raise ValueError(f"{len(probabilities)} predictions for {len(labels)} labels: each image needs one of each")
    predictions = [best_class(each) for each in probabilities]
    is_correct = [predicted == label for (predicted, _), label in zip(predictions, labels, strict=True)]
    sums = [0.0] * BINS  # of accuracy minus confidence
    for (_, confidence), correct in zip(predictions, is_correct, strict=True):
        sums[min(int(confidence * BINS), BINS - 1)] += correct - confidence
    return Result(
        images=len(probabilities),
        accuracy=sum(is_correct) / len(probabilities),
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
    """The slices on which the candidate is worse than the incumbent, by more than the margin and beyond chance.

    slices: by name, for each image whether the candidate and whether the incumbent is correct.

    Chance is excluded by a sign test over the images that only one of the two models classifies correctly: if the
    models were equally good, each would win such an image with probability 1/2. This is McNemar's exact test
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
    """The probability of at least `lost` heads in `lost + gained` tosses of a fair coin."""
    tosses = lost + gained
    return sum(math.comb(tosses, heads) for heads in range(lost, tosses + 1)) / (1 << tosses)
