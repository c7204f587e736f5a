"""The endpoint's predictions: from data capture, or from the workflow's own record if the endpoint captures nothing."""

from collections.abc import Iterator
from datetime import datetime

from lambda_src.monitoring.capture_store import read_bucket
from lambda_src.monitoring.captures import Capture, ParseErrors
from lambda_src.monitoring.prediction_log import read_log
from lambda_src.shared import aws, settings


def recorded_predictions(start: datetime, end: datetime, parse_errors: ParseErrors) -> Iterator[Capture]:
    """Every prediction with start <= time < end, from the location in RECORD_LOCATION."""
    kind, _, place = settings.record_location().partition(":")
    if kind == "log-group":
        return read_log(
            aws.logs(), place, classes=settings.classes(), parse_errors=parse_errors, since=start, until=end
        )
    return read_bucket(
        aws.s3(),
        settings.bucket_name(),
        place,
        classes=settings.classes(),
        parse_errors=parse_errors,
        since=start,
        until=end,
    )
