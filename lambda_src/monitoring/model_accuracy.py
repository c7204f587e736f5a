"""ModelAccuracy: counts the correct predictions of a past window, among those whose true class is known by now.

Event: `{"time": "2026-01-02T06:00:00Z"}`, which the schedule sends. The window ends LABEL_DELAY_HOURS before that, and
the windows of consecutive runs have no gap. `{"start": ..., "end": ...}` selects another window, for labels that
arrived later. The metrics have the time of the window's end, not of the run.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lambda_src.monitoring.capture_store import parse_time
from lambda_src.monitoring.captures import ParseErrors
from lambda_src.monitoring.ground_truth import GroundTruth, read_bucket_labels
from lambda_src.monitoring.recorded_predictions import recorded_predictions
from lambda_src.shared import aws, metrics, settings

Report = dict[str, Any]


@dataclass
class Score:
    """Predictions counted by true class and predicted class, both in label order."""

    num_classes: int
    confusion: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.confusion = [[0] * self.num_classes for _ in range(self.num_classes)]

    def add(self, *, true: int, predicted: int) -> None:
        self.confusion[true][predicted] += 1

    @property
    def labelled(self) -> int:
        return sum(map(sum, self.confusion))

    @property
    def correct(self) -> int:
        return sum(self.confusion[index][index] for index in range(self.num_classes))


def handler(event: dict[str, Any], _context: object) -> Report:
    if "start" in event:
        start, end = parse_time(event["start"]), parse_time(event["end"])
    else:
        end = parse_time(event["time"]) - timedelta(hours=settings.label_delay_hours())
        start = end - timedelta(hours=settings.accuracy_window_hours())
    report = score_window(start, end)
    if report["labelled"]:
        aws.s3().put_object(
            Bucket=settings.bucket_name(),
            Key=f"monitoring/accuracy/{end:%Y/%m/%d/%H%M%S}.json",
            Body=json.dumps(report, indent=2).encode(),
            ContentType="application/json",
        )
        metrics.publish(
            {metrics.LABELLED_ANSWERS: report["labelled"], metrics.CORRECT_ANSWERS: report["correct"]}, timestamp=end
        )
    return report


def score_window(start: datetime, end: datetime) -> Report:
    """Join the window's captures with the labels that exist now."""
    malformed_labels, malformed_captures = ParseErrors(), ParseErrors()
    score = Score(len(settings.classes()))
    truth = GroundTruth()
    try:
        truth.add(
            read_bucket_labels(
                aws.s3(), settings.bucket_name(), classes=settings.classes(), parse_errors=malformed_labels, since=start
            )
        )
        if truth.size:  # without labels, do not read gigabytes of captures
            for capture in recorded_predictions(start, end, malformed_captures):
                true = truth.label_of(capture)
                if true is not None:
                    score.add(true=true, predicted=settings.classes().index(capture.label))
    finally:
        truth.close()
    return {
        "start": start.isoformat(),
        "end": end.isoformat(),
        "labelled": score.labelled,
        "correct": score.correct,
        "accuracy": round(score.correct / score.labelled, 4) if score.labelled else None,
        "classes": settings.classes(),
        "confusion": score.confusion,
        "malformed_labels": malformed_labels.count,
        "malformed_captures": malformed_captures.count,
    }
