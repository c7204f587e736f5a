"""DriftMonitor: compares the last window of captures with the baseline, publishes the score, and writes a report.

Event: `{"time": "2026-01-02T03:00:00Z"}`, the end of the window, which the schedule sends; the default is now. With
`"start"`, the window begins there instead of DRIFT_WINDOW_HOURS earlier.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from lambda_src.monitoring import drift
from lambda_src.monitoring.capture_store import parse_time
from lambda_src.monitoring.captures import ParseErrors
from lambda_src.monitoring.drift import Drift
from lambda_src.monitoring.recorded_predictions import recorded_predictions
from lambda_src.shared import aws, metrics, settings
from lambda_src.shared.baseline import Baseline, BaselineError, Tally
from lambda_src.shared.predictions import is_accepted

Report = dict[str, Any]


class BaselineMissingError(Exception):
    """When there is no baseline for the current model to compare with."""


@dataclass
class Window:
    """The counts of the captures with start <= time < end."""

    start: datetime
    end: datetime
    tally: Tally
    last_hour: int = 0
    under_threshold: int = 0
    malformed: int = 0

    @property
    def requests(self) -> int:
        return self.tally.size


def handler(event: dict[str, Any], _context: object) -> Report:
    end = parse_time(event["time"]) if event.get("time") else datetime.now(UTC)
    hours = settings.drift_window_hours()
    start = parse_time(event["start"]) if event.get("start") else end - timedelta(hours=hours)
    baseline, problem = None, None
    try:
        baseline = load_baseline()
    except (BaselineMissingError, BaselineError) as error:
        problem = error  # count the captures anyway: an alarm watches whether there are any
    window = count_captures(start, end, baseline)
    values: dict[metrics.Metric, float] = {metrics.CAPTURED_REQUESTS: window.last_hour}
    if window.requests:
        values[metrics.UNDER_THRESHOLD] = _percent(window)
    if baseline is None:
        metrics.publish(values)
        assert problem  # noqa: S101 - narrows the type
        raise problem
    found = drift.compare(baseline, window.tally, bound=settings.drift_bound())
    if found.is_large_enough:
        values[metrics.DRIFT_SCORE] = found.score
    report = report_of(window, baseline, found)
    store_report(report, end)
    metrics.publish(values)
    return report


def load_baseline() -> Baseline:
    """The baseline of the current model; raises BaselineMissingError or BaselineError."""
    parameter = settings.baseline_parameter()
    bucket = settings.bucket_name()
    try:
        key = aws.ssm().get_parameter(Name=parameter)["Parameter"]["Value"]
        baseline = Baseline.from_json(aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read())
    except ClientError as error:
        # Without permission to list the bucket, S3 returns 403 instead of 404
        if error.response["Error"]["Code"] in {"ParameterNotFound", "NoSuchKey", "AccessDenied"}:
            raise BaselineMissingError(f"SSM parameter {parameter} names no readable baseline: {error}") from error
        raise
    classes = settings.classes()
    if baseline.classes != classes:
        raise BaselineError(f"{key} has the classes {', '.join(baseline.classes)}, not {', '.join(classes)}")
    return baseline


def count_captures(start: datetime, end: datetime, baseline: Baseline | None) -> Window:
    """Count the window's captures in one pass and in bounded memory."""
    window = Window(start, end, Tally(baseline.confidence_edges if baseline else (), len(settings.classes())))
    parse_errors = ParseErrors()
    last_hour = end - timedelta(hours=1)
    for capture in recorded_predictions(start, end, parse_errors):
        window.tally.add(capture.probabilities.index(capture.confidence), capture.confidence)
        window.last_hour += capture.time >= last_hour
        window.under_threshold += not is_accepted(capture.confidence, settings.confidence_threshold())
    window.malformed = parse_errors.count
    return window


def report_of(window: Window, baseline: Baseline, found: Drift) -> Report:
    """The window as a JSON object: the verdict, and the numbers that it follows from."""
    return {
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "verdict": found.verdict,
        "score": round(found.score, 4),
        "bound": found.bound,
        "requests": window.requests,
        "minimum_requests": found.minimum,
        "malformed_captures": window.malformed,
        "under_threshold_percent": round(_percent(window), 2) if window.requests else None,
        "baseline": {"artifact_uri": baseline.artifact_uri, "predictions": baseline.size},
        "confidence": {
            **asdict(found.confidence),
            "edges": baseline.confidence_edges,
            "baseline_counts": baseline.confidence_counts,
            "counts": window.tally.confidence_counts,
        },
        "classes": {
            **asdict(found.classes),
            "names": baseline.classes,
            "baseline_counts": baseline.class_counts,
            "counts": window.tally.class_counts,
        },
    }


def store_report(report: Report, end: datetime) -> None:
    """Write the report below `monitoring/drift/`, under the window's end."""
    aws.s3().put_object(
        Bucket=settings.bucket_name(),
        Key=f"monitoring/drift/{end:%Y/%m/%d/%H%M%S}.json",
        Body=json.dumps(report, indent=2).encode(),
        ContentType="application/json",
    )


def _percent(window: Window) -> float:
    return 100 * window.under_threshold / window.requests
