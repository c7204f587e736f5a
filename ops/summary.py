"""Computes a report's figures for a time window, in one pass over the captures and in bounded memory."""

import heapq
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lambda_src.monitoring import drift
from lambda_src.monitoring.captures import Capture
from lambda_src.monitoring.ground_truth import GroundTruth
from lambda_src.shared.baseline import Baseline, Tally
from lambda_src.shared.predictions import is_accepted
from ops.capture_origin import Origins

# From 1 s to 4 weeks. Each is a multiple of the one before, so that buckets can be joined into wider ones
WIDTHS_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_419_200)
MAX_BUCKETS = 96
# Shares of fewer requests are not meaningful: buckets are joined until they have this many, or only a few are left
ENOUGH_REQUESTS = 10
FEW_BUCKETS = 12
MAX_POINTS = 1500
MAX_UNSURE = 24
MAX_IMAGE_BYTES = 2**20  # of an image that is kept for display
# Bins of confidence without a baseline: finer towards 1, where most predictions are
CONFIDENCE_EDGES = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.99, 0.999)


@dataclass
class Bucket:
    """The captures of one period of time."""

    tally: Tally  # in the baseline's bins, or those of CONFIDENCE_EDGES
    under_threshold: int = 0
    confidence_sum: float = 0.0
    # Predictions counted by 1 - confidence, to three digits: for quantiles that distinguish 0.99997 from 0.9995
    missing: Counter[float] = field(default_factory=Counter)
    labelled: int = 0
    correct: int = 0

    @property
    def requests(self) -> int:
        return self.tally.size

    @property
    def mean_confidence(self) -> float:
        return self.confidence_sum / self.requests

    def add(self, label: int, confidence: float) -> None:
        """Count one prediction by the index of its class and by its confidence."""
        self.tally.add(label, confidence)
        self.confidence_sum += confidence
        self.missing[float(f"{1 - confidence:.3g}")] += 1

    def quantile(self, share: float) -> float:
        """The confidence below which a `share` of the predictions is, to three digits of 1 - confidence."""
        rank, seen = share * self.requests, 0
        for missing in sorted(self.missing, reverse=True):
            seen += self.missing[missing]
            if seen >= rank:
                return 1 - missing
        return 1.0

    def join(self, other: "Bucket") -> None:
        """Add the other bucket's counts."""
        mine, others = self.tally, other.tally
        mine.confidence_counts = [a + b for a, b in zip(mine.confidence_counts, others.confidence_counts, strict=True)]
        mine.class_counts = [a + b for a, b in zip(mine.class_counts, others.class_counts, strict=True)]
        self.missing.update(other.missing)
        self.under_threshold += other.under_threshold
        self.confidence_sum += other.confidence_sum
        self.labelled += other.labelled
        self.correct += other.correct


@dataclass(frozen=True)
class Point:
    """One prediction, as a point in a plot."""

    time: datetime
    confidence: float
    label: str


@dataclass(frozen=True)
class LeastConfident:
    """One of the least confident predictions, with its image."""

    time: datetime
    event_id: str
    label: str
    confidence: float
    is_accepted: bool
    true_label: str | None
    image: bytes | None
    key: str | None  # of the object in S3
    model: str  # the training job; empty if it is not known


@dataclass(frozen=True)
class DriftWindow:
    """Consecutive captures, enough for a drift score."""

    start: datetime
    end: datetime
    drift: drift.Drift


class Summary:
    """Counts captures in buckets of time, whose width grows with the time span, and keeps a sample of predictions."""

    def __init__(
        self,
        *,
        classes: tuple[str, ...],
        threshold: float,
        drift_bound: float,
        baseline: Baseline | None = None,
        truth: GroundTruth | None = None,
        origins: Origins | None = None,
    ) -> None:
        self.classes = classes
        self.threshold = threshold
        self.drift_bound = drift_bound
        self.baseline = baseline
        self.edges = baseline.confidence_edges if baseline else CONFIDENCE_EDGES
        self._truth = truth
        self._origins = origins or Origins()
        self.models: Counter[str] = Counter()  # requests by training job
        self._width = 0  # index into WIDTHS_SECONDS
        self._buckets: dict[int, Bucket] = {}
        self._random = random.Random(0)  # noqa: S311 - which predictions become points, the same in every run
        self._points: list[Point] = []
        self._unsure: list[tuple[float, int, Capture, int | None]] = []
        self._unsure_images: set[str] = set()
        self._indices = {name: index for index, name in enumerate(classes)}
        self.requests = 0
        self.first: datetime | None = None
        self.last: datetime | None = None

    def add(self, captures: Iterable[Capture]) -> None:
        for capture in captures:
            self._add(capture)
        while len(self._buckets) > FEW_BUCKETS and self.requests < ENOUGH_REQUESTS * len(self._buckets):
            if not self._widen():
                break

    @property
    def total(self) -> Bucket:
        """All captures as one bucket."""
        total = self._new_bucket()
        for bucket in self._buckets.values():
            total.join(bucket)
        return total

    @property
    def bucket_seconds(self) -> int:
        return WIDTHS_SECONDS[self._width]

    @property
    def buckets(self) -> list[tuple[datetime, Bucket]]:
        """Start and content of the periods with captures, in order."""
        return [
            (datetime.fromtimestamp(number * self.bucket_seconds, UTC), bucket)
            for number, bucket in sorted(self._buckets.items())
        ]

    @property
    def points(self) -> list[Point]:
        """Every prediction, or a sample of MAX_POINTS of them, in order of time."""
        return sorted(self._points, key=lambda point: point.time)

    @property
    def least_confident(self) -> list[LeastConfident]:
        """The predictions with the lowest confidence, in ascending order."""
        return [
            LeastConfident(
                time=capture.time,
                event_id=capture.event_id,
                label=capture.label,
                confidence=capture.confidence,
                is_accepted=is_accepted(capture.confidence, self.threshold),
                true_label=None if true is None else self.classes[true],
                image=self._origins.picture_of(capture, at_most=MAX_IMAGE_BYTES),
                key=image.key if (image := self._origins.image_of(capture)) else None,
                model=self._origins.model_of(capture),
            )
            for _, _, capture, true in sorted(self._unsure, key=lambda kept: -kept[0])
        ]

    def labelled_windows(self, minimum: int) -> list[tuple[datetime, datetime, Bucket]]:
        """Groups of consecutive buckets with at least `minimum` known truths each; the last may have fewer."""
        windows: list[tuple[datetime, datetime, Bucket]] = []
        start, joined = None, self._new_bucket()
        for time, bucket in self.buckets:
            start = start or time
            joined.join(bucket)
            end = time + timedelta(seconds=self.bucket_seconds)
            if joined.labelled >= minimum:
                windows.append((start, end, joined))
                start, joined = None, self._new_bucket()
        if start and joined.labelled:
            windows.append((start, end, joined))
        return windows

    def drift_windows(self) -> list[DriftWindow]:
        """Groups of consecutive buckets with enough requests for a drift score; the last may have too few.

        Raises BaselineError if the baseline is too small to compare with.
        """
        if self.baseline is None:
            return []
        windows: list[DriftWindow] = []
        start, joined = None, self._new_bucket()
        for time, bucket in self.buckets:
            start = start or time
            joined.join(bucket)
            found = drift.compare(self.baseline, joined.tally, bound=self.drift_bound)
            end = time + timedelta(seconds=self.bucket_seconds)
            if found.is_large_enough:
                windows.append(DriftWindow(start, end, found))
                start, joined = None, self._new_bucket()
        if start:
            windows.append(DriftWindow(start, end, found))
        return windows

    def _new_bucket(self) -> Bucket:
        return Bucket(Tally(self.edges, len(self.classes)))

    def _add(self, capture: Capture) -> None:
        self.requests += 1
        self.first = min(self.first or capture.time, capture.time)
        self.last = max(self.last or capture.time, capture.time)
        index = self._indices[capture.label]
        bucket = self._bucket_of(capture.time)
        bucket.add(index, capture.confidence)
        bucket.under_threshold += not is_accepted(capture.confidence, self.threshold)
        true = self._truth.label_of(capture) if self._truth else None
        if true is not None:
            bucket.labelled += 1
            bucket.correct += true == index
        self.models[self._origins.model_of(capture)] += 1
        self._keep(capture, true)

    def _bucket_of(self, time: datetime) -> Bucket:
        number = int(time.timestamp()) // self.bucket_seconds
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = self._new_bucket()
            while len(self._buckets) > MAX_BUCKETS and self._widen():
                pass
            return self._buckets[int(time.timestamp()) // self.bucket_seconds]
        return bucket

    def _widen(self) -> bool:
        """Join buckets into wider ones, if there is a greater width."""
        if self._width == len(WIDTHS_SECONDS) - 1:
            return False
        narrow = self.bucket_seconds
        self._width += 1
        factor = self.bucket_seconds // narrow
        joined: dict[int, Bucket] = {}
        for number, bucket in self._buckets.items():
            if number // factor in joined:
                joined[number // factor].join(bucket)
            else:
                joined[number // factor] = bucket
        self._buckets = joined
        return True

    def _keep(self, capture: Capture, true: int | None) -> None:
        # Reservoir sampling: every prediction has the same chance to be a point (Vitter 1985, algorithm R)
        place = int(self._random.random() * self.requests)
        if len(self._points) < MAX_POINTS:
            self._points.append(Point(capture.time, capture.confidence, capture.label))
        elif place < MAX_POINTS:
            self._points[place] = Point(capture.time, capture.confidence, capture.label)
        rank = -capture.confidence
        image = capture.inference_id or capture.event_id  # another request for the same image has the same inference id
        if (len(self._unsure) < MAX_UNSURE or rank > self._unsure[0][0]) and image not in self._unsure_images:
            heapq.heappush(self._unsure, (rank, -self.requests, _without_large_input(capture), true))
            self._unsure_images.add(image)
            if len(self._unsure) > MAX_UNSURE:
                dropped = heapq.heappop(self._unsure)[2]
                self._unsure_images.discard(dropped.inference_id or dropped.event_id)


def _without_large_input(capture: Capture) -> Capture:
    data = (capture.captured_input or {}).get("data")
    if isinstance(data, str) and len(data) > MAX_IMAGE_BYTES * 4 // 3:
        return capture._replace(captured_input=None)
    return capture
