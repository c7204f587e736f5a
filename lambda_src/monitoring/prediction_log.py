"""Reads the workflow's own record of its predictions from the log group of FilterConfidence."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lambda_src.monitoring.captures import Capture, ParseErrors
from lambda_src.shared.errors import InvalidPredictionError
from lambda_src.shared.json_reader import parse_json
from lambda_src.shared.prediction_record import INFERENCE_ID, PROBABILITIES
from lambda_src.shared.predictions import best_class, parse_probabilities

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
_RECORDS = f'{{ $.{INFERENCE_ID} = "*" }}'


def read_log(
    logs: "CloudWatchLogsClient",
    group: str,
    *,
    classes: tuple[str, ...],
    parse_errors: ParseErrors,
    since: datetime,
    until: datetime,
) -> Iterator[Capture]:
    """Every prediction in the log group with since <= time < until, in order of time, as a capture without an image.

    Malformed lines are counted in `parse_errors` and skipped. Raises ClientError or BotoCoreError.
    """
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        filterPattern=_RECORDS,
        startTime=_milliseconds(since),
        endTime=_milliseconds(until) - 1,  # FilterLogEvents includes its end
    )
    for page in pages:
        for event in page["events"]:
            if INFERENCE_ID not in event["message"]:  # the emulator does not apply the pattern
                continue
            try:
                yield _capture(event, classes)
            except (ValueError, InvalidPredictionError) as error:
                parse_errors.add(f"{group}, {event['logStreamName']}", error)


def _capture(event: Any, classes: tuple[str, ...]) -> Capture:
    line = parse_json(event["message"])
    try:
        inference_id, response = line[INFERENCE_ID], line[PROBABILITIES]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a prediction: {error!r}") from None
    probabilities = parse_probabilities(json.dumps(response), classes)
    label, confidence = best_class(probabilities)
    return Capture(
        datetime.fromtimestamp(event["timestamp"] / 1000, UTC),
        str(event.get("eventId") or inference_id),  # the emulator has no eventId
        str(inference_id),
        classes[label],
        confidence,
        probabilities,
        None,
    )


def _milliseconds(time: datetime) -> int:
    """Milliseconds since 1970; 0 for an earlier time, such as the start of a window that is open to the past."""
    return max(0, (time - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1))
