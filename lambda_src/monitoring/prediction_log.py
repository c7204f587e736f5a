"""The workflow's own record of its predictions, read from the log group of FilterConfidence by time."""

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
    """Every prediction of the log group with since <= time < until, as a capture without its image, in order of time.

    A malformed line is counted in `parse_errors` and skipped. Raises ClientError or BotoCoreError.
    """
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        filterPattern=_RECORDS,
        startTime=_milliseconds(since),
        endTime=_milliseconds(until) - 1,  # the service's end is in the window
    )
    for page in pages:
        for event in page["events"]:
            if INFERENCE_ID not in event["message"]:  # the emulator takes every line for a match
                continue
            try:
                yield _capture(event, classes)
            except (ValueError, InvalidPredictionError) as error:
                parse_errors.add(f"{group}, {event['logStreamName']}", error)


def _capture(event: Any, classes: tuple[str, ...]) -> Capture:
    line = parse_json(event["message"])
    try:
        inference_id, answer = line[INFERENCE_ID], line[PROBABILITIES]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a prediction: {error!r}") from None
    probabilities = parse_probabilities(json.dumps(answer), classes)
    label, confidence = best_class(probabilities)
    return Capture(
        datetime.fromtimestamp(event["timestamp"] / 1000, UTC),
        str(event.get("eventId") or inference_id),  # the emulator leaves it out
        str(inference_id),
        classes[label],
        confidence,
        probabilities,
        None,
    )


def _milliseconds(time: datetime) -> int:
    """Since 1970, which is where the log groups of a window without a beginning begin."""
    return max(0, (time - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1))
