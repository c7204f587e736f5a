"""The arithmetic of drift, compared with scipy and with its documented properties."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import chdtri

from lambda_src.monitoring import drift
from lambda_src.shared.baseline import MAX_BINS, Baseline, BaselineError, Tally
from lambda_src.shared.predictions import best_class

BOUND = 0.25
CLASSES = ("bicycle", "motorcycle")
counts = st.lists(st.integers(0, 10_000), min_size=2, max_size=10)


def answers(generator: random.Random, size: int, *, sharpness: float = 8, share: float = 0.5) -> list[list[float]]:
    """Probabilities of two classes as a network gives them: mostly sure, sometimes not."""
    found = []
    for _ in range(size):
        confidence = 0.5 + 0.5 * generator.random() ** (1 / sharpness)  # a beta distribution
        pair = [confidence, 1 - confidence]
        found.append(pair if generator.random() < share else pair[::-1])
    return found


def baseline(size: int = 400, seed: int = 1) -> Baseline:
    return Baseline.of(answers(random.Random(seed), size), classes=CLASSES, artifact_uri="s3://b/models/j/model.tar.gz")


def tally(of: Baseline, probabilities: list[list[float]]) -> Tally:
    window = Tally(of.confidence_edges, len(of.classes))
    for each in probabilities:
        window.add(*best_class(each))
    return window


def compare(base: Baseline, window: Tally) -> drift.Drift:
    return drift.compare(base, window, bound=BOUND)


# The formulae


@pytest.mark.parametrize("dof", range(1, 100))
def test_the_chi_squared_quantile_is_scipys(dof: int) -> None:
    tail = drift.FALSE_ALARM_RATE / 2
    assert drift.chi_squared_quantile(tail, dof) == pytest.approx(chdtri(dof, tail), rel=1e-2)


def test_psi_by_hand() -> None:
    # Shares with half a count more in each bin: 0.5/0.5 and 0.75/0.25
    assert drift.population_stability_index([1, 1], [4, 1]) == pytest.approx(2 * 0.25 * 0.5493061443, rel=1e-9)


@given(counts)
def test_psi_of_a_sample_with_itself_is_zero(sample: list[int]) -> None:
    assert drift.population_stability_index(sample, sample) == 0


@given(counts, st.randoms())
def test_psi_is_symmetric_finite_and_not_negative(sample: list[int], generator: random.Random) -> None:
    other = generator.sample(sample, len(sample))
    psi = drift.population_stability_index(sample, other)
    assert 0 <= psi < 100
    assert psi == pytest.approx(drift.population_stability_index(other, sample))


# The promise of the minimum sample


@pytest.mark.parametrize("size", [60, 200, 2000])
def test_chance_alone_reaches_the_bound_in_at_most_one_of_a_hundred_windows(size: int) -> None:
    generator = random.Random(7)
    windows, alarms = 400, 0
    for seed in range(windows):
        base = baseline(size, seed)
        minimum = compare(base, tally(base, answers(generator, 1))).minimum
        found = compare(base, tally(base, answers(generator, minimum)))
        assert found.is_large_enough
        alarms += found.verdict == "drift"
    assert alarms <= 0.02 * windows  # 1 of 100, and what 400 windows may be off


def test_a_window_below_the_minimum_has_no_verdict() -> None:
    base = baseline()
    generator = random.Random(3)
    minimum = compare(base, tally(base, [])).minimum
    unsure = answers(generator, minimum, sharpness=1)
    assert compare(base, tally(base, unsure[:-1])).verdict == "too few requests"
    assert compare(base, tally(base, unsure)).verdict == "drift"


def test_a_baseline_that_is_too_small_for_its_classes_is_refused() -> None:
    with pytest.raises(BaselineError, match="it needs more than"):
        drift.minimum_sample(100, bins=100, bound=BOUND)


def test_a_lower_bound_needs_more_requests_and_is_reached_earlier() -> None:
    base = baseline(5000)
    window = tally(base, answers(random.Random(2), 20_000, share=0.67))
    strict, usual = (drift.compare(base, window, bound=bound) for bound in (0.11, BOUND))
    assert (strict.verdict, usual.verdict) == ("drift", "watch")
    assert strict.minimum > usual.minimum


# The verdict


@pytest.mark.parametrize(
    ("sharpness", "share", "verdict"),
    [(8, 0.5, "stable"), (4, 0.5, "drift"), (8, 0.75, "drift"), (8, 0.67, "watch")],
)
def test_what_counts_as_drift(sharpness: float, share: float, verdict: str) -> None:
    base = baseline(5000)
    window = tally(base, answers(random.Random(2), 20_000, sharpness=sharpness, share=share))
    assert compare(base, window).verdict == verdict


# The baseline


def test_a_baseline_has_bins_of_about_equal_size() -> None:
    base = baseline(400)
    assert len(base.confidence_counts) == MAX_BINS
    assert all(abs(count - 40) <= 2 for count in base.confidence_counts)
    assert base.size == 400


def test_a_small_baseline_has_fewer_bins() -> None:
    assert len(baseline(40).confidence_counts) == 2
    with pytest.raises(BaselineError, match="at least 40 predictions, not 39"):
        baseline(39)


def test_a_model_that_is_always_sure_has_a_bin_for_doubt() -> None:
    base = Baseline.of([[1.0, 0.0]] * 100, classes=CLASSES, artifact_uri="s3://b/m")
    assert base.confidence_edges == (1.0,)
    assert base.confidence_counts == (0, 100)
    window = tally(base, [[0.9, 0.1]] * 1000)
    assert compare(base, window).confidence.psi > BOUND


@given(st.lists(st.floats(0.5, 1), min_size=40, max_size=300))
def test_every_prediction_is_counted_once_and_in_its_bin(confidences: list[float]) -> None:
    base = Baseline.of([[c, 1 - c] for c in confidences], classes=CLASSES, artifact_uri="s3://b/m")
    assert sum(base.confidence_counts) == sum(base.class_counts) == len(confidences)
    edges = [0.0, *base.confidence_edges, 2.0]
    for index, count in enumerate(base.confidence_counts):
        assert count == sum(edges[index] <= c < edges[index + 1] for c in confidences)


def test_a_baseline_survives_its_file() -> None:
    base = baseline()
    assert Baseline.from_json(base.to_json()) == base
    assert json.loads(base.to_json())["classes"] == ["bicycle", "motorcycle"]


@pytest.mark.parametrize(
    "change",
    [
        {"confidence_edges": [0.9]},
        {"confidence_edges": ["nan"] * len(baseline().confidence_edges)},
        {"confidence_edges": [2.0] * len(baseline().confidence_edges)},
        {"class_counts": [-1, baseline().size + 1]},
        {"confidence_counts": [1, 2]},
        {"class_counts": [1, 1]},
        {"class_counts": None},
        {"classes": ["bicycle"]},
    ],
)
def test_a_damaged_baseline_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BaselineError, match="not a baseline"):
        Baseline.from_json(json.dumps({**json.loads(baseline().to_json()), **change}))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_an_invalid_baseline_is_refused(text: str) -> None:
    with pytest.raises(BaselineError, match="not a baseline"):
        Baseline.from_json(text)
