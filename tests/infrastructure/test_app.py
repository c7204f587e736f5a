"""The application as a whole: stages, names, and errors that stop synthesis."""

import json
from pathlib import Path
from typing import Any

from tests.infrastructure.conftest import template_of


def test_stack_names_carry_the_environment(assembly: Path, environment: str) -> None:
    manifest = json.loads((assembly / f"assembly-{environment}" / "manifest.json").read_text())
    stacks = {
        artifact["displayName"]: artifact["properties"]["stackName"]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    }
    assert stacks == {
        f"{environment}/{stack}": f"scones-{environment}-{stack}"
        for stack in ("Bulk", "Console", "Data", "Model", "Workflow", "Monitoring", "Retraining")
    }


def test_every_resource_with_tags_has_that_of_its_environment(assembly: Path, environment: str) -> None:
    for path in (assembly / f"assembly-{environment}").glob("*.template.json"):
        for logical_id, resource in json.loads(path.read_text())["Resources"].items():
            tags = resource.get("Properties", {}).get("Tags")
            if tags is not None:
                assert {"Key": "environment", "Value": environment} in tags, logical_id


def of_type(resources: dict[str, Any], resource_type: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in resources.values() if resource["Type"] == resource_type]


def test_a_schedule_runs_the_workflow_over_a_prefix(variants: Path) -> None:
    schedule = template_of(variants, "serverless", "Workflow").only("AWS::Scheduler::Schedule")
    assert schedule["ScheduleExpression"] == "cron(0 6 * * ? *)"
    assert schedule["State"] == "ENABLED"
    assert '"s3_prefix":"scheduled/"' in json.dumps(schedule["Target"]["Input"]).replace("\\", "")
    assert "DeadLetterConfig" in schedule["Target"]


def test_alerts_go_to_the_configured_address(variants: Path) -> None:
    subscription = template_of(variants, "serverless", "Data").only("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")


def test_classes_reach_the_classifier_in_label_order(variants: Path) -> None:
    functions = template_of(variants, "serverless", "Workflow").resources("AWS::Lambda::Function").values()
    classes = [
        function["Environment"]["Variables"]["CLASSES"]
        for function in functions
        if "CLASSES" in function.get("Environment", {}).get("Variables", {})
    ]
    assert [json.loads(value) for value in classes] == [["bus", "streetcar", "pickup_truck"]]
