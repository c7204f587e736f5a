"""The metrics that an endpoint publishes to CloudWatch, every second instead of every minute.

Names and units: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html. ModelLatency is in
microseconds.
"""

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDatumTypeDef

NAMESPACE = "AWS/SageMaker"
FLUSH_SECONDS = 1.0
_MAX_VALUES = 150  # of one datum


class EndpointMetrics:
    """Counts the invocations of one variant."""

    def __init__(self, *, endpoint_name: str, variant_name: str) -> None:
        self._dimensions: list[DimensionTypeDef] = [
            {"Name": "EndpointName", "Value": endpoint_name},
            {"Name": "VariantName", "Value": variant_name},
        ]
        self._cloudwatch = boto3.client("cloudwatch")
        self._latencies: Counter[int] = Counter()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._flush_regularly, daemon=True)
        self._thread.start()

    def invoked(self, *, status: int, seconds: float) -> None:
        """Count one invocation that the container completed with `status` after `seconds`."""
        with self._lock:
            self._counts["Invocations"] += 1
            self._counts["Invocation4XXErrors"] += 400 <= status < 500
            self._counts["Invocation5XXErrors"] += status >= 500
            self._latencies[round(seconds * 1e6)] += 1

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _flush_regularly(self) -> None:
        while not self._closed.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, Counter()
            latencies, self._latencies = self._latencies, Counter()
        if not counts:
            return
        data: list[MetricDatumTypeDef] = [
            {"MetricName": name, "Dimensions": self._dimensions, "Value": value, "Unit": "Count"}
            for name, value in counts.items()
        ]
        # Single values, because CloudWatch computes no percentiles from statistic sets
        measured = sorted(latencies.items())
        data += [
            {
                "MetricName": "ModelLatency",
                "Dimensions": self._dimensions,
                "Values": [value for value, _ in measured[start : start + _MAX_VALUES]],
                "Counts": [count for _, count in measured[start : start + _MAX_VALUES]],
                "Unit": "Microseconds",
            }
            for start in range(0, len(measured), _MAX_VALUES)
        ]
        try:
            self._cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except (BotoCoreError, ClientError):  # as on AWS, a failed metric does not fail the request
            logging.exception("metrics lost")
