"""Computes whether the distribution of predictions has drifted. Works on counts, so a window of any length fits.

Two distributions of a window are compared with the baseline, the model's predictions for the validation images: that of
the confidences and that of the classes. Neither needs labels, which are known much later, if at all.

Score: the population stability index, `PSI = sum((o - b) * ln(o / b))` over the shares `o` (observed) and `b`
(baseline) of each bin. By convention, a distribution is stable below 0.1 and has shifted from 0.25 on (N. Siddiqi,
Credit Risk Scorecards, Wiley 2006).

Minimum sample: without drift, PSI is about `(1/n + 1/m) * chi2(bins - 1)` for samples of n and m (B. Yurdakul and
J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation 14(4), 2020). A
window is evaluated if it is so large that chance alone reaches the bound in at most 1 of 100 windows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from lambda_src.shared.baseline import Baseline, BaselineError, Tally

PSI_WATCH = 0.1
FALSE_ALARM_RATE = 0.01

Verdict = Literal["stable", "watch", "drift", "too few requests"]


@dataclass(frozen=True)
class Comparison:
    """One distribution of a window against the baseline's. `minimum` is the sample size that makes PSI meaningful."""

    psi: float
    minimum: int


@dataclass(frozen=True)
class Drift:
    """A window compared with the baseline. It has drifted if its score is at least `bound`."""

    requests: int
    confidence: Comparison
    classes: Comparison
    bound: float

    @property
    def minimum(self) -> int:
        return max(self.confidence.minimum, self.classes.minimum)

    @property
    def is_large_enough(self) -> bool:
        return self.requests >= self.minimum

    @property
    def score(self) -> float:
        return max(self.confidence.psi, self.classes.psi)

    @property
    def verdict(self) -> Verdict:
        if not self.is_large_enough:
            return "too few requests"
        if self.score >= self.bound:
            return "drift"
        return "watch" if self.score >= PSI_WATCH else "stable"


def compare(baseline: Baseline, window: Tally, *, bound: float) -> Drift:
    """Compare a window, counted in the baseline's bins, with the baseline.

    Raises BaselineError if the baseline is too small for its number of bins.
    """
    return Drift(
        requests=window.size,
        confidence=_compare(baseline.confidence_counts, window.confidence_counts, bound),
        classes=_compare(baseline.class_counts, window.class_counts, bound),
        bound=bound,
    )


def _compare(baseline: Sequence[int], observed: Sequence[int], bound: float) -> Comparison:
    return Comparison(
        psi=population_stability_index(baseline, observed),
        minimum=minimum_sample(sum(baseline), bins=len(baseline), bound=bound),
    )


def population_stability_index(baseline: Sequence[int], observed: Sequence[int]) -> float:
    """PSI of two lists of counts over the same bins.

    A half is added to each count, so that the term of an empty bin is large but finite.
    """
    bins = len(baseline)
    baseline_total, observed_total = sum(baseline) + bins / 2, sum(observed) + bins / 2
    total = 0.0
    for b, o in zip(baseline, observed, strict=True):
        expected, actual = (b + 0.5) / baseline_total, (o + 0.5) / observed_total
        total += (actual - expected) * math.log(actual / expected)
    return total


def minimum_sample(baseline_size: int, *, bins: int, bound: float) -> int:
    """How many requests a window needs so that PSI reaches the bound by chance in at most 1 of 100 windows.

    Each of the two distributions gets half of that rate. Raises BaselineError if the baseline is too small for any
    window.
    """
    quantile = chi_squared_quantile(FALSE_ALARM_RATE / 2, bins - 1)
    rest = bound / quantile - 1 / baseline_size
    if rest <= 0:
        raise BaselineError(
            f"a baseline of {baseline_size} predictions is too small for {bins} bins: "
            f"it needs more than {math.ceil(quantile / bound)}"
        )
    return math.ceil(1 / rest)


def chi_squared_quantile(tail: float, degrees_of_freedom: int) -> float:
    """The value that a chi-squared variable exceeds with probability `tail`.

    Uses the cube-root approximation, which is within 1 % for a tail of 0.5 % (E. Wilson and M. Hilferty, The
    distribution of chi-square, PNAS 17(12), 1931).
    """
    variance = 2 / (9 * degrees_of_freedom)
    return degrees_of_freedom * (1 - variance + NormalDist().inv_cdf(1 - tail) * math.sqrt(variance)) ** 3
