"""What must hold in every template."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

# The service has no resource-level permissions for these; every other statement names what it may touch
UNSCOPABLE = {
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}


@pytest.fixture(scope="session")
def templates(assembly: Path, environment: str) -> list[Path]:
    return sorted((assembly / f"assembly-{environment}").glob("*.template.json"))


def test_cfn_lint_finds_nothing(templates: list[Path]) -> None:
    # W3005: CDK lets a function depend on its role and on the role's policy, though it refers to the role already
    command = ["cfn-lint", "--ignore-checks", "W3005", "--", *map(str, templates)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout


def statements(path: Path) -> list[dict[str, Any]]:
    resources = json.loads(path.read_text())["Resources"].values()
    return [
        statement
        for resource in resources
        if resource["Type"] == "AWS::IAM::Policy"
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
    ]


def test_no_wildcard_resource_where_the_service_can_scope(templates: list[Path]) -> None:
    for path in templates:
        for statement in statements(path):
            if statement["Resource"] == "*":
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert set(actions) <= UNSCOPABLE, statement


def test_no_wildcard_action_and_no_managed_policy(templates: list[Path]) -> None:
    for path in templates:
        for statement in statements(path):
            assert "*" not in json.dumps(statement["Action"]), statement
        for resource in json.loads(path.read_text())["Resources"].values():
            if resource["Type"] == "AWS::IAM::Role":
                assert "ManagedPolicyArns" not in resource["Properties"]
