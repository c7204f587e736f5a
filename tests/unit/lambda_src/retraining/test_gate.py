import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_src.retraining.gate import Bounds, Result, reasons_against, result_of, slice_reasons

BOUNDS = Bounds(minimum_accuracy=0.8, margin=0.02, max_calibration_error=0.1)
GOOD = Result(images=200, accuracy=0.9, calibration_error=0.05)


@pytest.mark.parametrize(
    ("candidate", "incumbent", "reasons"),
    [
        (GOOD, GOOD, []),
        (Result(200, 0.80, 0.10), Result(200, 0.80, 0.10), []),
        (Result(200, 0.88, 0.05), GOOD, []),  # within the margin
        (Result(200, 0.95, 0.05), GOOD, []),
        (Result(200, 0.79, 0.05), Result(200, 0.70, 0.05), ["accuracy 0.7900 is under the minimum of 0.8"]),
        (Result(200, 0.87, 0.05), GOOD, ["accuracy 0.8700 is more than 0.02 under the incumbent's 0.9000"]),
        (Result(200, 0.95, 0.11), GOOD, ["calibration error 0.1100 is above the bound of 0.1"]),
    ],
)
def test_each_bound_is_a_reason_of_its_own(candidate: Result, incumbent: Result, reasons: list[str]) -> None:
    assert reasons_against(candidate, incumbent, BOUNDS) == reasons


def test_a_candidate_can_fail_for_every_reason() -> None:
    assert len(reasons_against(Result(200, 0.5, 0.5), GOOD, BOUNDS)) == 3


def test_accuracy_and_calibration_of_known_predictions() -> None:
    answers = [[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]
    result = result_of(answers, [0, 1, 1, 1])
    assert result.images == 4
    assert result.accuracy == 0.75
    # Bins: 0.9 twice (once right), 0.8 right, 0.6 right
    assert result.calibration_error == pytest.approx((abs(1 - 1.8) + 0.2 + 0.4) / 4)


def test_predictions_that_are_always_certain_and_correct_are_calibrated() -> None:
    assert result_of([[1.0, 0.0]] * 10, [0] * 10).calibration_error == 0


@given(st.lists(st.tuples(st.floats(0.5, 1), st.integers(0, 1)), min_size=1))
def test_both_figures_are_shares(cases: list[tuple[float, int]]) -> None:
    result = result_of([[top, 1 - top] for top, _ in cases], [label for _, label in cases])
    assert 0 <= result.accuracy <= 1
    assert 0 <= result.calibration_error <= 1


@pytest.mark.parametrize(("answers", "labels"), [([], []), ([[0.5, 0.5]], [0, 1])])
def test_every_image_needs_a_prediction_and_a_label(answers: list[list[float]], labels: list[int]) -> None:
    with pytest.raises(ValueError, match="each image needs one of each"):
        result_of(answers, labels)


def pairs(*, both: int, lost: int = 0, gained: int = 0) -> list[tuple[bool, bool]]:
    """Whether candidate and incumbent are right."""
    return [(True, True)] * both + [(False, True)] * lost + [(True, False)] * gained


def test_a_candidate_that_is_better_on_average_is_rejected_for_the_slice_that_it_lost() -> None:
    slices = {"class bicycle": pairs(both=80, gained=20), "class motorcycle": pairs(both=90, lost=10)}
    assert list(slice_reasons(slices, BOUNDS)) == [
        "accuracy 0.9000 on the 100 images of class motorcycle is more than 0.02 under the incumbent's 1.0000"
    ]


@pytest.mark.parametrize(
    ("images", "why"),
    [
        (pairs(both=4, lost=4), "four tosses of a coin do that once in sixteen times"),
        (pairs(both=980, lost=20), "a fall of exactly the margin"),
        (pairs(both=50, lost=30, gained=26), "models that differ much, each for the better on about as many images"),
        (pairs(both=50, gained=50), "a gain"),
    ],
)
def test_a_slice_of_few_images_or_with_a_small_loss_does_not_reject(images: list[tuple[bool, bool]], why: str) -> None:
    assert list(slice_reasons({"source reviewed": images}, BOUNDS)) == [], why


def test_the_more_slices_there_are_the_surer_the_fall_must_be() -> None:
    """Of a hundred equally good classes, one would lose seven images to none by chance every other time."""
    fallen = {"class 0": pairs(both=93, lost=7)}
    even = {f"class {number}": pairs(both=100) for number in range(1, 100)}
    assert list(slice_reasons(fallen, BOUNDS))
    assert not list(slice_reasons(fallen | even, BOUNDS))


def test_chance_rejects_at_most_one_in_twenty_equally_good_candidates() -> None:
    """Every outcome of eight images that only one model gets right, in each of two slices, weighted as by a coin."""
    rejected = sum(
        math.comb(8, lost) / 2**8
        for lost in range(9)
        if list(slice_reasons({"a": pairs(both=2, lost=lost, gained=8 - lost), "b": pairs(both=10)}, BOUNDS))
    )
    assert 2 * rejected <= 0.05
