"""Computes percentiles of any number of durations from a few hundred counts."""

import math
from collections import Counter

_GROWTH = math.log(1.02)  # so that a percentile is right within 1%
_SHORTEST_SECONDS = 1e-4


class Latencies:
    """Durations in seconds, counted in bins that grow by 2%."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        self._bins[round(math.log(max(seconds, _SHORTEST_SECONDS)) / _GROWTH)] += 1
        self.longest = max(self.longest, seconds)

    def percentile(self, percent: float) -> float | None:
        """The duration that `percent` of all do not exceed; None if there are none."""
        rank, seen = math.ceil(self._bins.total() * percent / 100), 0
        for index, count in sorted(self._bins.items()):
            seen += count
            if seen >= rank:
                return min(math.exp(index * _GROWTH), self.longest)
        return None
