"""The distribution that drift is measured against: a model's predictions for the validation images, as counts."""

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lambda_src.shared.json_reader import parse_json
from lambda_src.shared.predictions import best_class

MAX_BINS = 10
# W. Cochran's rule asks for 5 in each cell; 20 leaves room for the window, whose predictions fall elsewhere
_PER_BIN = 20
MIN_BASELINE = 2 * _PER_BIN


class BaselineError(ValueError):
    """When a baseline cannot be made or read; the message says why."""


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
        """From the probabilities, in label order, of each validation image; raises BaselineError."""
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
        """Raises BaselineError for what `to_json` cannot have written."""
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
            or not all(0 <= edge <= 1 for edge in baseline.confidence_edges)  # "nan" is a number to float()
            or min(*baseline.confidence_counts, *baseline.class_counts) < 0
        ):
            raise BaselineError("not a baseline: its edges, counts and classes do not fit together")
        return baseline


@dataclass
class Tally:
    """Counts of a sample, in the bins of a baseline."""

    confidence_edges: tuple[float, ...]
    num_classes: int
    confidence_counts: list[int] = field(init=False)
    class_counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.confidence_counts = [0] * (len(self.confidence_edges) + 1)
        self.class_counts = [0] * self.num_classes

    def add(self, label: int, confidence: float) -> None:
        """Count one prediction by the index of its class and by its confidence."""
        self.confidence_counts[bisect_right(self.confidence_edges, confidence)] += 1
        self.class_counts[label] += 1

    @property
    def size(self) -> int:
        return sum(self.class_counts)


def _quantiles(values: Sequence[float]) -> tuple[float, ...]:
    """Inner edges of up to ten bins of about equal size; equal values share a bin, so there may be fewer."""
    ordered = sorted(values)
    bins = max(2, min(MAX_BINS, len(ordered) // _PER_BIN))
    edges = {ordered[len(ordered) * i // bins] for i in range(1, bins)}
    # A lowest value that fills bins needs no bin below it, unless there is no other value
    return tuple(sorted(edges - {ordered[0]})) or (ordered[0],)
