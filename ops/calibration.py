"""Computes accuracy against coverage, and calibration, from predictions whose true class is known.

It keeps only counts, so any number of predictions fits: by confidence in steps of 0.0001, and in the bins of the ECE.

Coverage at a threshold is the share of predictions with at least that confidence; accuracy is the share of correct ones
among those (R. El-Yaniv and Y. Wiener, JMLR 11, 2010). The expected calibration error is
`ECE = sum(n_b / n * |accuracy_b - mean confidence_b|)` over 15 bins of equal width (C. Guo et al., On Calibration of
Modern Neural Networks, ICML 2017, equation 3).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ops.shares import wilson_interval

STEPS = 10_000
ECE_BINS = 15
_EDGES = [step / STEPS for step in range(STEPS + 1)]


class OperatingPoint(NamedTuple):
    """The effect of a threshold, which accepts the predictions with confidence >= threshold."""

    threshold: float
    accepted: int
    correct: int
    total: int

    @property
    def coverage(self) -> float:
        return self.accepted / self.total

    @property
    def rejected(self) -> int:
        return self.total - self.accepted

    @property
    def accuracy(self) -> float | None:
        """None if nothing is accepted."""
        return self.correct / self.accepted if self.accepted else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy."""
        return wilson_interval(self.correct, self.accepted)


@dataclass
class ReliabilityBin:
    """The predictions within one of the ECE's bins."""

    count: int = 0
    confidence_sum: float = 0.0
    correct: int = 0


@dataclass
class Calibration:
    """Counts of predictions by confidence, and how many of them are correct."""

    counts: list[int] = field(default_factory=lambda: [0] * (STEPS + 1))
    correct: list[int] = field(default_factory=lambda: [0] * (STEPS + 1))
    bins: list[ReliabilityBin] = field(default_factory=lambda: [ReliabilityBin() for _ in range(ECE_BINS)])
    total: int = 0

    def add(self, predictions: Iterable[tuple[float, bool]]) -> None:
        """Count predictions: the confidence of each and whether it is correct."""
        for confidence, is_correct in predictions:
            # By comparison, not by multiplication, so that a threshold accepts exactly what the workflow would accept
            step = bisect_right(_EDGES, confidence) - 1
            self.counts[step] += 1
            self.correct[step] += is_correct
            reliability = self.bins[min(int(confidence * ECE_BINS), ECE_BINS - 1)]
            reliability.count += 1
            reliability.confidence_sum += confidence
            reliability.correct += is_correct
            self.total += 1

    def curve(self) -> Iterator[OperatingPoint]:
        """The operating point of every threshold in steps of 0.0001, from 1 down to 0."""
        accepted = correct = 0
        for step in range(STEPS, -1, -1):
            accepted += self.counts[step]
            correct += self.correct[step]
            yield OperatingPoint(_EDGES[step], accepted, correct, self.total)

    def at(self, *thresholds: float) -> list[OperatingPoint]:
        """The operating points of these thresholds, from 0 to 1, rounded to steps of 0.0001."""
        steps = sorted({round(threshold * STEPS) for threshold in thresholds})
        return [
            OperatingPoint(_EDGES[step], sum(self.counts[step:]), sum(self.correct[step:]), self.total)
            for step in steps
        ]

    def threshold_for(self, accuracy: float, *, certainly: bool = False) -> OperatingPoint | None:
        """The lowest threshold above which at least `accuracy` of the predictions are correct, None if there is none.

        `certainly`: the lower end of the 95% interval must reach it, not only the share in this sample.
        """
        best = None
        for point in self.curve():
            reached = point.interval[0] if certainly else point.accuracy
            if point.accepted and reached is not None and reached >= accuracy:
                best = point
        return best

    @property
    def expected_calibration_error(self) -> float:
        return sum(abs(bin_.correct - bin_.confidence_sum) for bin_ in self.bins) / self.total
