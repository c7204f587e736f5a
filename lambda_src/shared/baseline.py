"""The baseline that drift is measured against: a model's predictions for the validation images, counted in bins."""

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lambda_src.shared.json_reader import parse_json
from lambda_src.shared.predictions import best_class

MAX_BINS = 10
# Cochran's rule for chi-squared statistics asks for 5 expected counts in each cell. With 20 in the baseline's bins, a
# window whose predictions are distributed differently still has enough.
_PER_BIN = 20
MIN_BASELINE = 2 * _PER_BIN


class BaselineError(ValueError):
    """When a baseline cannot be computed or read; the message says why."""


@dataclass(frozen=True)
class Baseline:
    """The model's predictions for the validation images, as `models/<job>/baseline.json` holds them.

    `confidence_edges` are the inner edges of the confidence bins, ascending: bin i holds
    `edges[i - 1] <= confidence < edges[i]`. They are quantiles, so that each bin holds about the same number.
    `class_counts` are in label order.
    """

    artifact_uri: str
    classes: tuple[str, ...]
    confidence_edges: tuple[float, ...]
    confidence_counts: tuple[int, ...]
    class_counts: tuple[int, ...]

    @property
    def size(self) -> int:
        return sum(self.class_counts)

    @classmethod
    def of(cls, predictions: Iterable[Sequence[float]], *, classes: Sequence[str], artifact_uri: str) -> "Baseline":
        """The baseline of these predictions: for each validation image its probabilities, in label order.

        Raises BaselineError if there are too few.
        """
        tops = [best_class(probabilities) for probabilities in predictions]
        if len(tops) < MIN_BASELINE:
            raise BaselineError(f"a baseline needs at least {MIN_BASELINE} predictions, not {len(tops)}")
        edges = _quantiles([confidence for _, confidence in tops])
        tally = Tally(edges, len(classes))
        for label, confidence in tops:
            tally.add(label, confidence)
        return cls(
            artifact_uri=artifact_uri,
            classes=tuple(classes),
            confidence_edges=edges,
            confidence_counts=tuple(tally.confidence_counts),
            class_counts=tuple(tally.class_counts),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Baseline":
        """Parse what `to_json` writes; raises BaselineError for anything else."""
        try:
            content: dict[str, Any] = parse_json(text)
            baseline = cls(
                artifact_uri=str(content["artifact_uri"]),
                classes=tuple(map(str, content["classes"])),
                confidence_edges=tuple(map(float, content["confidence_edges"])),
                confidence_counts=tuple(map(int, content["confidence_counts"])),
                class_counts=tuple(map(int, content["class_counts"])),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise BaselineError(f"not a baseline ({type(error).__name__}: {error})") from error
        if (
            len(baseline.confidence_counts) != len(baseline.confidence_edges) + 1
            or len(baseline.class_counts) != len(baseline.classes)
            or sum(baseline.confidence_counts) != baseline.size
            or baseline.size < MIN_BASELINE
            or list(baseline.confidence_edges) != sorted(baseline.confidence_edges)
            or not all(0 <= edge <= 1 for edge in baseline.confidence_edges)  # also refuses NaN
            or min(*baseline.confidence_counts, *baseline.class_counts) < 0
        ):
            raise BaselineError("not a baseline: its edges, counts and classes do not fit together")
        return baseline


@dataclass
class Tally:
    """Counts of predictions, in the bins of a baseline."""

    confidence_edges: tuple[float, ...]
    num_classes: int
    confidence_counts: list[int] = field(init=False)
    class_counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.confidence_counts = [0] * (len(self.confidence_edges) + 1)
        self.class_counts = [0] * self.num_classes

    def add(self, label: int, confidence: float) -> None:
        """Count one prediction: the index of its class, and its confidence."""
        self.confidence_counts[bisect_right(self.confidence_edges, confidence)] += 1
        self.class_counts[label] += 1

    @property
    def size(self) -> int:
        return sum(self.class_counts)


def _quantiles(values: Sequence[float]) -> tuple[float, ...]:
    """Inner edges of at most ten bins that hold about as many values each; equal values always share a bin."""
    ordered = sorted(values)
    bins = max(2, min(MAX_BINS, len(ordered) // _PER_BIN))
    edges = {ordered[len(ordered) * i // bins] for i in range(1, bins)}
    # No value lies below the lowest one, so an edge there would make an empty bin; keep it only if it is the only edge
    return tuple(sorted(edges - {ordered[0]})) or (ordered[0],)
