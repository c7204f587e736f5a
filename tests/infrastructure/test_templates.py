"""What must hold in every template; what the scanners ask is in test_scanner_exceptions.py."""

import json
from pathlib import Path


def test_no_managed_policy(assembly: Path, environment: str) -> None:
    for path in (assembly / f"assembly-{environment}").glob("*.template.json"):
        for resource in json.loads(path.read_text())["Resources"].values():
            if resource["Type"] == "AWS::IAM::Role":
                assert "ManagedPolicyArns" not in resource["Properties"]
