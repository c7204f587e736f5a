"""Has the distribution of predictions drifted? Pure arithmetic over counts, so a window of any length fits into memory.

Two distributions are compared with the baseline, the model's predictions for the validation images: the confidences and
the classes. Neither needs labels, which come too late anyway.

Score: the population stability index, `PSI = sum((o - b) * ln(o / b))` over the shares `o` (observed) and `b`
(baseline) of each bin. By convention it is stable below 0.1 and has shifted from 0.25 on (N. Siddiqi, Credit Risk
Scorecards, Wiley 2006).

Minimum sample: without drift, PSI is about `(1/n + 1/m) * chi2(bins - 1)` for samples of n and m (B. Yurdakul and
J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation 14(4), 2020). A
window counts once it is large enough that chance alone reaches the bound in at most 1 of 100 windows.
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
    """One distribution of a window against the baseline's. `minimum` is the sample that PSI needs to mean anything."""

    psi: float
    minimum: int


@dataclass(frozen=True)
class Drift:
    """A window compared with the baseline; from a score of `bound` on it has drifted."""

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
    """Compare a window, tallied with the baseline's edges, with the baseline.

    Raises BaselineError if the baseline is too small for its bins.
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

    Each count is raised by a half, so that an empty bin gives a large but finite term.
    """
    bins = len(baseline)
    baseline_total, observed_total = sum(baseline) + bins / 2, sum(observed) + bins / 2
    total = 0.0
    for b, o in zip(baseline, observed, strict=True):
        expected, actual = (b + 0.5) / baseline_total, (o + 0.5) / observed_total
        total += (actual - expected) * math.log(actual / expected)
    return total


def minimum_sample(baseline_size: int, *, bins: int, bound: float) -> int:
    """How many requests a window needs for PSI to reach the bound by chance at most once in a hundred windows.

    Two distributions are compared, so each may be wrong half as often. Raises BaselineError if the baseline itself is
    too small for that, whatever the window.
    """
    quantile = chi_squared_quantile(FALSE_ALARM_RATE / 2, bins - 1)
    rest = bound / quantile - 1 / baseline_size
    if rest <= 0:
        raise BaselineError(
            f"a baseline of {baseline_size} predictions is too small for {bins} bins: "
            f"it takes more than {math.ceil(quantile / bound)}"
        )
    return math.ceil(1 / rest)


def chi_squared_quantile(tail: float, degrees_of_freedom: int) -> float:
    """What a chi-squared variable exceeds with probability `tail`.

    By the cube-root approximation, within 1 % for tails of 0.5 % (E. Wilson and M. Hilferty, The distribution of
    chi-square, PNAS 17(12), 1931).
    """
    variance = 2 / (9 * degrees_of_freedom)
    return degrees_of_freedom * (1 - variance + NormalDist().inv_cdf(1 - tail) * math.sqrt(variance)) ** 3
