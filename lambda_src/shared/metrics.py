"""Publishes metrics in CloudWatch's embedded metric format: CloudWatch turns a JSON line of the log into data points.

This needs no call to CloudWatch, no permission and no library. Losing a line loses a data point, not an image.
Format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import functools
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lambda_src.shared import settings
from lambda_src.shared.errors import LowConfidenceError, WaitingForEndpointError
from lambda_src.shared.item import Item


@dataclass(frozen=True)
class Metric:
    """A metric's name and unit, in the environment's namespace."""

    name: str
    unit: str


# Published by FilterConfidence: one is 1 and the other 0, so that the share can be computed for any period
IMAGES_ACCEPTED = Metric("ImagesAccepted", "Count")
IMAGES_REJECTED = Metric("ImagesRejected", "Count")
CONFIDENCE = Metric("Confidence", "None")
# Published by every function: attempts that failed, by the error's class name; a later attempt may have succeeded
IMAGE_ERRORS = Metric("ImageErrors", "Count")
ERROR_DIMENSION = "Error"
# Published by DriftMonitor for the last hour, so that hours can be added up
CAPTURED_REQUESTS = Metric("CapturedRequests", "Count")
# Published by DriftMonitor for its whole window; there is no score without enough requests
DRIFT_SCORE = Metric("DriftScore", "None")
UNDER_THRESHOLD = Metric("UnderThreshold", "Percent")
# Published by ModelAccuracy: predictions whose true class became known later, at the time of the prediction
LABELLED_ANSWERS = Metric("LabelledAnswers", "Count")
CORRECT_ANSWERS = Metric("CorrectAnswers", "Count")


def publish(
    values: Mapping[Metric, float],
    *,
    dimensions: Mapping[str, str] | None = None,
    timestamp: datetime | None = None,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Write one line that gives each metric one value.

    timestamp: at most two weeks ago; the default is now.
    record: further members of the line, which are not metrics.
    """
    dimensions = dimensions or {}
    line = {
        "_aws": {
            "Timestamp": round((timestamp or datetime.now(UTC)).timestamp() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": settings.metric_namespace(),
                    "Dimensions": [list(dimensions)],
                    "Metrics": [{"Name": metric.name, "Unit": metric.unit} for metric in values],
                }
            ],
        },
        **dimensions,
        **{metric.name: value for metric, value in values.items()},
        **(record or {}),
    }
    # Not through logging, which would wrap the line into a log record
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def counting_errors(handler: Callable[[Item, object], Item]) -> Callable[[Item, object], Item]:
    """Decorates a handler to count errors by class name. A rejected or waiting image is an outcome, not an error."""

    @functools.wraps(handler)
    def counted(event: Item, context: object) -> Item:
        try:
            return handler(event, context)
        except (LowConfidenceError, WaitingForEndpointError):
            raise
        except Exception as error:
            publish({IMAGE_ERRORS: 1}, dimensions={ERROR_DIMENSION: type(error).__name__})
            raise

    return counted
