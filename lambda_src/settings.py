"""The functions' environment variables, read and checked once per cold start."""

import json
import os
from dataclasses import dataclass
from functools import cache


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
class MetricsSettings:
    namespace: str


@cache
def metrics() -> MetricsSettings:
    return MetricsSettings(namespace=_required("METRIC_NAMESPACE"))


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"environment variable {name} is not set")
    return value
