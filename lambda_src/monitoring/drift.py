"""Have the model's answers drifted? Pure arithmetic over counts, so that a window of any length fits into memory.

Two distributions are compared with the baseline, the model's own answers to the validation images: how confident the
answers are, and which classes they name. Labels are not needed, and come too late anyway.

Score: the population stability index, `PSI = sum((o - b) * ln(o / b))` over the shares `o` (observed) and `b`
(baseline) of each bin, with its conventional bounds: below 0.1 stable, from 0.25 on a shift (N. Siddiqi, Credit Risk
Scorecards, Wiley 2006).

Test: Pearson's chi-squared test that both samples come from one distribution (Numerical Recipes, 3rd edition, equation
14.3.4, for samples of different size).

Minimum sample: under no drift PSI is about `(1/n + 1/m) * chi2(bins - 1)` for samples of n and m (B. Yurdakul and
J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation 14(4), 2020). A
window counts once it is large enough that chance alone reaches the bound of 0.25 in at most 1 of 100 windows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lambda_src.shared.baseline import Baseline, BaselineError, Tally

PSI_WATCH = 0.1
PSI_BOUND = 0.25
FALSE_ALARM_RATE = 0.01


Verdict = Literal["stable", "watch", "drift", "too few requests"]


@dataclass(frozen=True)
class Comparison:
    """One distribution of a window against the baseline's. `minimum` is the sample that PSI needs to mean anything."""

    psi: float
    chi_squared: float
    degrees_of_freedom: int
    p_value: float
    minimum: int


@dataclass(frozen=True)
class Drift:
    """What a window is like, compared with the baseline."""

    requests: int
    confidence: Comparison
    classes: Comparison

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
        if self.score >= PSI_BOUND:
            return "drift"
        return "watch" if self.score >= PSI_WATCH else "stable"


def compare(baseline: Baseline, window: Tally) -> Drift:
    """Compare a window, tallied with the baseline's edges, with the baseline."""
    return Drift(
        requests=window.size,
        confidence=_compare(baseline.confidence_counts, window.confidence_counts),
        classes=_compare(baseline.class_counts, window.class_counts),
    )


def _compare(baseline: Sequence[int], observed: Sequence[int]) -> Comparison:
    statistic, degrees_of_freedom = chi_squared(baseline, observed)
    return Comparison(
        psi=population_stability_index(baseline, observed),
        chi_squared=statistic,
        degrees_of_freedom=degrees_of_freedom,
        p_value=chi_squared_survival(statistic, degrees_of_freedom),
        minimum=minimum_sample(sum(baseline), bins=len(baseline)),
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


def chi_squared(first: Sequence[int], second: Sequence[int]) -> tuple[float, int]:
    """Statistic and degrees of freedom of the two-sample test; bins that are empty in both do not count."""
    first_total, second_total = sum(first), sum(second)
    cells = [(a, b) for a, b in zip(first, second, strict=True) if a + b]
    if not first_total or not second_total or len(cells) < 2:
        return 0.0, max(len(cells) - 1, 0)
    ratio = math.sqrt(second_total / first_total)
    return math.fsum((ratio * a - b / ratio) ** 2 / (a + b) for a, b in cells), len(cells) - 1


def minimum_sample(baseline_size: int, *, bins: int) -> int:
    """How many requests a window needs for PSI to reach its bound by chance at most once in a hundred windows.

    Two distributions are compared, so each may be wrong half as often. Raises BaselineError if the baseline itself is
    too small for that, whatever the window.
    """
    quantile = chi_squared_quantile(FALSE_ALARM_RATE / 2, bins - 1)
    rest = PSI_BOUND / quantile - 1 / baseline_size
    if rest <= 0:
        raise BaselineError(
            f"a baseline of {baseline_size} answers is too small for {bins} bins: "
            f"it takes more than {math.ceil(quantile / PSI_BOUND)}"
        )
    return math.ceil(1 / rest)


def chi_squared_survival(statistic: float, degrees_of_freedom: int) -> float:
    """Probability that a chi-squared variable exceeds `statistic`.

    It is the regularized upper incomplete gamma function Q(k/2, x/2), by its series or its continued fraction
    (Numerical Recipes, 3rd edition, section 6.2).
    """
    a, x = degrees_of_freedom / 2, statistic / 2
    if a <= 0 or x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > total * 1e-16:
            n += 1
            term *= x / n
            total += term
        return max(0.0, 1 - scale * total)
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    fraction = d
    for i in range(1, 10_000):
        coefficient = -i * (i - a)
        b += 2
        d = 1 / (coefficient * d + b or tiny)
        c = b + coefficient / c or tiny
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return scale * fraction


def chi_squared_quantile(tail: float, degrees_of_freedom: int) -> float:
    """What a chi-squared variable exceeds with probability `tail`, by bisection."""
    low, high = 0.0, 1.0
    while chi_squared_survival(high, degrees_of_freedom) > tail:
        low, high = high, high * 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if chi_squared_survival(middle, degrees_of_freedom) > tail:
            low = middle
        else:
            high = middle
    return high
