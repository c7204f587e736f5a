import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.calibration import Calibration
from ops.shares import wilson_interval

Predictions = list[tuple[float, bool]]
predictions = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def calibration_of(found: Predictions) -> Calibration:
    calibration = Calibration()
    calibration.add(found)
    return calibration


@given(predictions, st.integers(0, 10_000))
def test_a_threshold_accepts_what_it_accepts_in_service(found: Predictions, step: int) -> None:
    threshold = step / 10_000
    (point,) = calibration_of(found).at(threshold)
    accepted = [is_correct for confidence, is_correct in found if confidence >= threshold]
    assert (point.threshold, point.accepted, point.correct) == (threshold, len(accepted), sum(accepted))
    assert point.rejected == len(found) - len(accepted)


@settings(max_examples=30)  # of ten thousand thresholds each
@given(predictions, st.floats(0, 1))
def test_the_threshold_for_an_accuracy_is_the_lowest_that_reaches_it(found: Predictions, accuracy: float) -> None:
    calibration = calibration_of(found)
    best = calibration.threshold_for(accuracy)
    reaching = [p for p in calibration.curve() if p.accuracy is not None and p.accuracy >= accuracy]
    assert best == min(reaching, key=lambda point: point.threshold, default=None)


def test_to_be_certain_takes_a_higher_threshold() -> None:
    rng = random.Random(0)
    found = [(confidence, rng.random() < confidence) for confidence in (rng.uniform(0.5, 1) for _ in range(3000))]
    calibration = calibration_of(found)
    point, safe = calibration.threshold_for(0.9), calibration.threshold_for(0.9, certainly=True)
    assert point
    assert safe
    assert safe.threshold > point.threshold
    assert safe.interval[0] >= 0.9 > point.interval[0]


def test_confidence_beyond_one_by_rounding_is_one() -> None:
    assert calibration_of([(1.0004, True)]).at(1.0)[0].accepted == 1


def test_expected_calibration_error() -> None:
    # Two bins: half the answers at 0.9 of which 70% are right, half at 0.6 of which 60% are right
    found = [(0.9, n < 7) for n in range(10)] + [(0.6, n < 6) for n in range(10)]
    assert calibration_of(found).expected_calibration_error == pytest.approx(0.5 * 0.2)
    perfect = [(0.75, n < 3) for n in range(4)]
    assert calibration_of(perfect).expected_calibration_error == pytest.approx(0)


def test_wilson_interval_against_published_values() -> None:
    # R. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(0, 0) == (0.0, 1.0)
