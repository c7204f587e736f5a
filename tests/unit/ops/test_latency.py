import random

import pytest

from ops.latency import Latencies


def test_percentiles_are_right_within_a_bin() -> None:
    rng = random.Random(0)
    seconds = [rng.lognormvariate(0, 1) for _ in range(5000)]
    latencies = Latencies()
    for value in seconds:
        latencies.add(value)
    for percent in (50, 90, 99):
        assert latencies.percentile(percent) == pytest.approx(sorted(seconds)[50 * percent - 1], rel=0.011)
    assert latencies.longest == max(seconds)
    assert latencies.percentile(100) == pytest.approx(max(seconds), rel=0.011)


def test_no_durations_have_no_percentiles() -> None:
    assert Latencies().percentile(50) is None


def test_no_time_at_all_is_a_duration() -> None:
    latencies = Latencies()
    latencies.add(0)
    assert latencies.percentile(50) == 0
