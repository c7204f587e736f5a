"""The check of `python -m ops doctor` for resource types that CloudFormation lacks in a region."""

from typing import Any

import pytest

from ops.region import resource_types
from stacks.config import parse_environment


@pytest.mark.parametrize(
    ("region", "monitoring", "found"),
    [
        ("us-east-1", {"monthly_budget_usd": 100}, []),
        ("eu-north-1", {}, []),
        ("eu-north-1", {"monthly_budget_usd": 100}, ["AWS::Budgets::Budget"]),
        ("ap-south-2", {}, ["AWS::SageMaker::ModelPackageGroup"]),
        ("me-central-1", {}, ["AWS::SageMaker::Endpoint"]),
    ],
)
def test_a_resource_type_that_the_region_lacks_stops_a_deployment(
    monkeypatch: pytest.MonkeyPatch, region: str, monitoring: dict[str, Any], found: list[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    checks = list(resource_types(parse_environment("dev", {"monitoring": monitoring})))
    assert [(check.name, check.status) for check in checks] == [(name, "failed") for name in found]
