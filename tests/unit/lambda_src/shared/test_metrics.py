import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lambda_src.shared import metrics
from lambda_src.shared.errors import CorruptImageError, LowConfidenceError


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_in_embedded_metric_format(capsys: pytest.CaptureFixture[str]) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html"""
    metrics.publish(
        {metrics.IMAGE_ERRORS: 1, metrics.CONFIDENCE: 0.5},
        dimensions={"Error": "CorruptImageError"},
        timestamp=datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
    )
    (line,) = lines(capsys)
    assert line == {
        "_aws": {
            "Timestamp": 1767323045678,
            "CloudWatchMetrics": [
                {
                    "Namespace": "SconesUnlimited/dev",
                    "Dimensions": [["Error"]],
                    "Metrics": [{"Name": "ImageErrors", "Unit": "Count"}, {"Name": "Confidence", "Unit": "None"}],
                }
            ],
        },
        "Error": "CorruptImageError",
        "ImageErrors": 1,
        "Confidence": 0.5,
    }


def test_every_unit_is_one_of_cloudwatchs() -> None:
    found = {metric.unit for metric in vars(metrics).values() if isinstance(metric, metrics.Metric)}
    assert found <= {"Count", "Percent", "None"}


def test_a_handlers_errors_are_counted_by_class_and_still_raised(capsys: pytest.CaptureFixture[str]) -> None:
    @metrics.counting_errors
    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        raise event["error"]

    with pytest.raises(CorruptImageError):
        handler({"error": CorruptImageError("half")}, None)
    with pytest.raises(KeyError):
        handler({}, None)
    assert [(line["Error"], line["ImageErrors"]) for line in lines(capsys)] == [
        ("CorruptImageError", 1),
        ("KeyError", 1),
    ]


def test_a_rejection_is_not_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    @metrics.counting_errors
    def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
        raise LowConfidenceError("unsure")

    with pytest.raises(LowConfidenceError):
        handler({}, None)
    assert lines(capsys) == []
