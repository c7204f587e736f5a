import itertools
import random
from datetime import UTC, datetime, timedelta
from statistics import fmean, median

import pytest

from lambda_src.monitoring.captures import Capture
from lambda_src.monitoring.ground_truth import GroundTruth, Label
from lambda_src.shared.baseline import Baseline, BaselineError
from ops import summary as module
from ops.summary import Summary

CLASSES = ("bicycle", "motorcycle")
START = datetime(2026, 11, 25, 8, tzinfo=UTC)


def capture(number: int, confidence: float, *, time: datetime | None = None, data: str = "cGl4ZWxz") -> Capture:
    label = number % 2
    return Capture(
        time or START + timedelta(seconds=number),
        f"event-{number}",
        f"inference-{number}",
        CLASSES[label],
        confidence,
        [confidence, 1 - confidence] if label == 0 else [1 - confidence, confidence],
        {"encoding": "BASE64", "data": data},
    )


def baseline(size: int = 400) -> Baseline:
    rng = random.Random(1)
    answers = [(c, 1 - c) if n % 2 else (1 - c, c) for n, c in enumerate(rng.uniform(0.5, 1) for _ in range(size))]
    return Baseline.of(answers, classes=CLASSES, artifact_uri="s3://b/m")


def summary_of(captures: list[Capture], **how: object) -> Summary:
    summary = Summary(classes=CLASSES, threshold=0.9, drift_bound=0.25, **how)  # type: ignore[arg-type]
    summary.add(captures)
    return summary


def test_counts_are_those_of_the_captures() -> None:
    rng = random.Random(0)
    confidences = [rng.uniform(0.5, 1) for _ in range(999)]
    summary = summary_of([capture(number, confidence) for number, confidence in enumerate(confidences)])
    total = summary.total
    assert summary.requests == total.requests == 999
    assert total.tally.class_counts == [500, 499]
    assert total.under_threshold == sum(confidence < 0.9 for confidence in confidences)
    assert total.mean_confidence == pytest.approx(fmean(confidences))
    assert total.quantile(0.5) == pytest.approx(median(confidences), abs=0.01)
    assert total.quantile(0.1) == pytest.approx(sorted(confidences)[99], abs=0.01)
    assert (summary.first, summary.last) == (START, START + timedelta(seconds=998))


@pytest.mark.parametrize("confidence", [0.5, 0.874, 0.95, 0.9912, 0.99997, 0.9999995, 1.0])
def test_a_quantile_is_a_confidence_that_was_given(confidence: float) -> None:
    total = summary_of([capture(number, confidence) for number in range(50)]).total
    assert total.quantile(0.5) == total.quantile(0.1) == pytest.approx(confidence, abs=(1 - confidence) / 100)
    assert total.quantile(0.5) == pytest.approx(total.mean_confidence, abs=(1 - confidence) / 100)


def test_quantiles_distinguish_confidences_close_to_1() -> None:
    total = summary_of([capture(number, 1 - 10 ** -(1 + number / 20)) for number in range(100)]).total
    assert total.quantile(0.5) == pytest.approx(1 - 10**-3.5, abs=1e-4)
    assert total.quantile(0.9) == pytest.approx(1 - 10**-5.5, abs=1e-6)


@pytest.mark.parametrize("seconds", [1, 60, 3600, 86_400, 30 * 86_400])
def test_buckets_widen_with_the_time_that_they_span_and_lose_nothing(seconds: int) -> None:
    numbers = list(range(500))
    random.Random(0).shuffle(numbers)  # files of several variants are not in order
    captures = [capture(n, 0.95, time=START + timedelta(seconds=n * seconds)) for n in numbers]
    summary = summary_of(captures)
    assert len(summary.buckets) <= module.MAX_BUCKETS or summary.bucket_seconds == module.WIDTHS_SECONDS[-1]
    assert len(summary.buckets) > 4
    assert sum(bucket.requests for _, bucket in summary.buckets) == 500
    for time, bucket in summary.buckets:
        end = time + timedelta(seconds=summary.bucket_seconds)
        assert bucket.requests == sum(time <= capture.time < end for capture in captures)


def test_each_width_is_a_multiple_of_the_one_before() -> None:
    for narrow, wide in itertools.pairwise(module.WIDTHS_SECONDS):
        assert wide % narrow == 0


def test_points_are_all_predictions_or_a_uniform_sample() -> None:
    few = summary_of([capture(n, 0.95) for n in range(100)])
    assert len(few.points) == 100
    many = summary_of([capture(n, 0.95) for n in range(20_000)])
    assert len(many.points) == module.MAX_POINTS
    assert [point.time for point in many.points] == sorted(point.time for point in many.points)
    early = sum(point.time < START + timedelta(seconds=10_000) for point in many.points)
    assert early == pytest.approx(module.MAX_POINTS / 2, rel=0.1)


def test_the_predictions_with_the_lowest_confidence_are_kept_with_their_images() -> None:
    captures = [capture(n, 0.5 + n / 10_000) for n in range(1000)]
    random.Random(0).shuffle(captures)
    unsure = summary_of(captures).least_confident
    assert [answer.confidence for answer in unsure] == [0.5 + n / 10_000 for n in range(module.MAX_UNSURE)]
    assert {answer.image for answer in unsure} == {b"pixels"}


def test_a_large_image_is_not_kept() -> None:
    (answer,) = summary_of([capture(0, 0.5, data="A" * 2_000_000)]).least_confident
    assert answer.image is None


def test_drift_is_scored_in_windows_that_are_large_enough() -> None:
    rng = random.Random(2)
    alike = [capture(n, rng.uniform(0.5, 1)) for n in range(1000)]
    unsure = [capture(n, rng.uniform(0.5, 0.7)) for n in range(1000, 2000)]
    windows = summary_of([*alike, *unsure], baseline=baseline()).drift_windows()
    assert sum(window.drift.requests for window in windows) == 2000
    assert all(window.drift.is_large_enough for window in windows[:-1])
    assert windows[0].drift.verdict in {"stable", "watch"}
    assert windows[-2].drift.verdict == "drift"
    for earlier, later in itertools.pairwise(windows):
        assert earlier.end <= later.start


def test_without_a_baseline_there_is_no_drift_and_a_small_one_is_reported() -> None:
    captures = [capture(n, 0.95) for n in range(10)]
    assert summary_of(captures).drift_windows() == []
    small = Baseline("s3://b/m", CLASSES, tuple(n / 10 for n in range(1, 10)), (5,) * 10, (25, 25))
    with pytest.raises(BaselineError, match="too small"):
        summary_of(captures, baseline=small).drift_windows()


def test_accuracy_is_counted_where_the_truth_is_known() -> None:
    truth = GroundTruth()
    truth.add(Label(0, f"inference-{n}", None) for n in range(100))  # every one a bicycle
    summary = summary_of([capture(n, 0.95) for n in range(150)], truth=truth)
    assert (summary.total.labelled, summary.total.correct) == (100, 50)
    windows = summary.labelled_windows(30)
    assert sum(bucket.labelled for _, _, bucket in windows) == 100
    assert all(bucket.labelled >= 30 for _, _, bucket in windows[:-1])
    assert {answer.true_label for answer in summary.least_confident} <= {"bicycle", None}
    truth.close()
