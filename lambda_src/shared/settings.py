"""The functions' environment variables, read and checked once per cold start."""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from lambda_src.shared.json_reader import parse_json


@dataclass(frozen=True)
class ClassifierSettings:
    endpoint_name: str
    classes: tuple[str, ...]


@cache
def classifier() -> ClassifierSettings:
    return ClassifierSettings(endpoint_name=_required("ENDPOINT_NAME"), classes=classes())


@dataclass(frozen=True)
class FilterSettings:
    confidence_threshold: float
    bucket_name: str


@cache
def filter_confidence() -> FilterSettings:
    return FilterSettings(confidence_threshold=_confidence_threshold(), bucket_name=_required("BUCKET_NAME"))


@dataclass(frozen=True)
class MetricsSettings:
    namespace: str


@cache
def metrics() -> MetricsSettings:
    return MetricsSettings(namespace=_required("METRIC_NAMESPACE"))


@dataclass(frozen=True)
class DriftSettings:
    bucket_name: str
    endpoint_name: str
    classes: tuple[str, ...]
    confidence_threshold: float
    window_hours: int
    bound: float  # of the population stability index
    baseline_parameter: str


@cache
def drift_monitor() -> DriftSettings:
    return DriftSettings(
        bucket_name=_required("BUCKET_NAME"),
        endpoint_name=_required("ENDPOINT_NAME"),
        classes=classes(),
        confidence_threshold=_confidence_threshold(),
        window_hours=_hours("DRIFT_WINDOW_HOURS"),
        bound=float(_required("DRIFT_BOUND")),
        baseline_parameter=_required("BASELINE_PARAMETER"),
    )


@cache
def classes() -> tuple[str, ...]:
    """In label order."""
    names = parse_json(_required("CLASSES"))
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(f"CLASSES must be a JSON list of at least two names, not {names!r}")
    return tuple(names)


@dataclass(frozen=True)
class AccuracySettings:
    bucket_name: str
    endpoint_name: str
    classes: tuple[str, ...]
    window_hours: int
    label_delay_hours: int


@cache
def model_accuracy() -> AccuracySettings:
    return AccuracySettings(
        bucket_name=_required("BUCKET_NAME"),
        endpoint_name=_required("ENDPOINT_NAME"),
        classes=classes(),
        window_hours=_hours("ACCURACY_WINDOW_HOURS"),
        label_delay_hours=_hours("LABEL_DELAY_HOURS"),
    )


def _hours(name: str) -> int:
    hours = int(_required(name))
    if hours < 1:
        raise ValueError(f"{name} must be at least 1, not {hours}")
    return hours


def _confidence_threshold() -> float:
    threshold = float(_required("CONFIDENCE_THRESHOLD"))
    if not 0 < threshold <= 1:  # also refuses NaN
        raise ValueError(f"CONFIDENCE_THRESHOLD must be above 0 and at most 1, not {threshold}")
    return threshold


@dataclass(frozen=True)
class RetrainingSettings:
    """What the functions of the retraining workflow share; stacks/retraining/retraining_stack.py writes it."""

    bucket_name: str
    endpoint_name: str
    stage_name: str  # prefix of the names of jobs, models and endpoint configs
    classes: tuple[str, ...]
    parameters_digest: str
    artifact_parameter: str
    metadata_parameter: str
    baseline_parameter: str
    max_per_day: int
    cool_down_minutes: int
    minimum_accuracy: float
    margin: float
    max_calibration_error: float
    deployment_config: dict[str, Any] | None = None  # of a release; none for a serverless endpoint


@cache
def retraining() -> RetrainingSettings:
    values = parse_json(_required("RETRAINING"))
    return RetrainingSettings(**{**values, "classes": tuple(values["classes"])})


@dataclass(frozen=True)
class ReleaseLogSettings:
    bucket_name: str


@cache
def release_log() -> ReleaseLogSettings:
    return ReleaseLogSettings(bucket_name=_required("BUCKET_NAME"))


@dataclass(frozen=True)
class PredictionSettings:
    bucket_name: str


@cache
def predictions() -> PredictionSettings:
    """Where predictions and manifests lie."""
    return PredictionSettings(bucket_name=_required("BUCKET_NAME"))


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"environment variable {name} is not set")
    return value
