"""The functions' environment variables, each read and validated once per cold start.

A function has exactly the variables that it reads (tests/infrastructure/test_settings.py).
"""

import os
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from lambda_src.shared.json_reader import parse_json

_Value = TypeVar("_Value")


def _setting(
    name: str,
    read: Callable[[str], _Value],
    *,
    must_be: str = "",
    check: Callable[[_Value], bool] = lambda _: True,
) -> Callable[[], _Value]:
    """A function that reads the variable `name`, and raises ValueError if it is not set or fails `check`.

    must_be: what the check demands, in words, for the error's message.
    """

    @cache
    def value() -> _Value:
        text = os.environ.get(name)
        if not text:
            raise ValueError(f"environment variable {name} is not set")
        found = read(text)
        if not check(found):
            raise ValueError(f"{name} must be {must_be}, not {text}")
        return found

    return value


def _hours(name: str) -> Callable[[], int]:
    return _setting(name, int, must_be="at least 1", check=lambda hours: hours >= 1)


def _names(text: str) -> tuple[str, ...]:
    names = parse_json(text)
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


metric_namespace = _setting("METRIC_NAMESPACE", str)
bucket_name = _setting("BUCKET_NAME", str)
endpoint_name = _setting("ENDPOINT_NAME", str)
endpoint_kind = _setting(
    "ENDPOINT_KIND", str, must_be="realtime or serverless", check=lambda kind: kind in {"realtime", "serverless"}
)
# In label order
classes = _setting("CLASSES", _names, must_be="a JSON list of at least two names", check=lambda names: len(names) >= 2)
confidence_threshold = _setting(
    "CONFIDENCE_THRESHOLD",
    float,
    must_be="above 0 and at most 1",
    check=lambda threshold: 0 < threshold <= 1,  # also refuses NaN
)

# Monitoring
# Where predictions are recorded: captures below a prefix of the bucket, or the log group of FilterConfidence
record_location = _setting(
    "RECORD_LOCATION",
    str,
    must_be="data-capture:PREFIX or log-group:NAME",
    check=lambda location: location.startswith(("data-capture:", "log-group:")),
)
drift_window_hours = _hours("DRIFT_WINDOW_HOURS")
drift_bound = _setting("DRIFT_BOUND", float)  # of the population stability index
accuracy_window_hours = _hours("ACCURACY_WINDOW_HOURS")
label_delay_hours = _hours("LABEL_DELAY_HOURS")

# Retraining
stage_name = _setting("STAGE_NAME", str)  # prefix of the names of jobs, models and endpoint configs
parameters_digest = _setting("PARAMETERS_DIGEST", str)
artifact_parameter = _setting("ARTIFACT_PARAMETER", str)
algorithm_parameter = _setting("ALGORITHM_PARAMETER", str)
metadata_parameter = _setting("METADATA_PARAMETER", str)
baseline_parameter = _setting("BASELINE_PARAMETER", str)
cool_down_minutes = _setting("COOL_DOWN_MINUTES", int)
minimum_accuracy = _setting("MINIMUM_ACCURACY", float)
margin = _setting("MARGIN", float)
max_calibration_error = _setting("MAX_CALIBRATION_ERROR", float)
# The DeploymentConfig of UpdateEndpoint as JSON; `null` for a serverless endpoint, which has none
deployment_config: Callable[[], dict[str, Any] | None] = _setting("DEPLOYMENT_CONFIG", parse_json)
