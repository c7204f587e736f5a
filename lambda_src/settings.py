"""The functions' environment variables, read and checked once per cold start."""

import json
import os
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class ClassifierSettings:
    endpoint_name: str
    classes: tuple[str, ...]


@cache
def classifier() -> ClassifierSettings:
    classes = json.loads(_required("CLASSES"))
    if not isinstance(classes, list) or len(classes) < 2 or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"CLASSES must be a JSON list of at least two names, not {classes!r}")
    return ClassifierSettings(endpoint_name=_required("ENDPOINT_NAME"), classes=tuple(classes))


@dataclass(frozen=True)
class FilterSettings:
    confidence_threshold: float
    bucket_name: str


@cache
def filter_confidence() -> FilterSettings:
    threshold = float(_required("CONFIDENCE_THRESHOLD"))
    if not 0 < threshold <= 1:  # also refuses NaN
        raise ValueError(f"CONFIDENCE_THRESHOLD must be above 0 and at most 1, not {threshold}")
    return FilterSettings(confidence_threshold=threshold, bucket_name=_required("BUCKET_NAME"))


@dataclass(frozen=True)
class RetrainingSettings:
    """What the functions of the retraining workflow share; stacks/retraining_stack.py writes it."""

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
    deployment_config: dict[str, Any]


@cache
def retraining() -> RetrainingSettings:
    values = json.loads(_required("RETRAINING"))
    return RetrainingSettings(**{**values, "classes": tuple(values["classes"])})


@dataclass(frozen=True)
class ReleaseLogSettings:
    bucket_name: str


@cache
def release_log() -> ReleaseLogSettings:
    return ReleaseLogSettings(bucket_name=_required("BUCKET_NAME"))


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"environment variable {name} is not set")
    return value
