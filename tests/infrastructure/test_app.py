"""The application as a whole: stages, names, and what stops synthesis."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stacks.config import PROJECT_ROOT
from tests.infrastructure.conftest import synthesize


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


def test_every_resource_that_takes_tags_says_what_it_belongs_to(assembly: Path, environment: str) -> None:
    for path in (assembly / f"assembly-{environment}").glob("*.template.json"):
        for logical_id, resource in json.loads(path.read_text())["Resources"].items():
            tags = resource.get("Properties", {}).get("Tags")
            if tags is not None:
                assert {"Key": "environment", "Value": environment} in tags, logical_id


def test_a_bad_configuration_stops_synthesis_with_one_line(tmp_path: Path) -> None:
    """Of the program, as the command line of CDK starts it."""
    context = {"environments": {"dev": {"confidence_threshold": 90}}}
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "CDK_OUTDIR": str(tmp_path), "CDK_CONTEXT_JSON": json.dumps(context)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 1
    assert run.stderr == "environment 'dev': confidence_threshold = 90: should be less than or equal to 1\n"


def test_one_environment_is_synthesized_without_the_others(tmp_path: Path) -> None:
    synthesize(tmp_path, {"first": {}, "second": {}}, only="second")
    assert [folder.name for folder in tmp_path.glob("assembly-*")] == ["assembly-second"]


@pytest.mark.parametrize(
    ("environments", "only", "message"),
    [
        ({"first": {}}, "second", "context only=second: cdk.json has no such environment"),
        (
            {"first": {"confidence_threshold": 90}, "second": {}},
            "second",
            "environment 'first': confidence_threshold = 90: should be less than or equal to 1",
        ),
    ],
)
def test_one_environment_alone_needs_a_configuration_without_mistakes(
    tmp_path: Path, environments: dict[str, Any], only: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        synthesize(tmp_path, environments, only=only)
    assert stopped.value.code == message


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("scheduled")
    settings = {
        "classes": ["bus", "streetcar", "pickup_truck"],
        "alert_email": "ops@example.com",
        "schedule": {"expression": "cron(0 6 * * ? *)"},
    }
    synthesize(output, {"nightly": settings})
    return {
        path.name.removeprefix("nightly")[:4]: json.loads(path.read_text())["Resources"]
        for path in (output / "assembly-nightly").glob("*.template.json")
    }


def of_type(resources: dict[str, Any], resource_type: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in resources.values() if resource["Type"] == resource_type]


def test_a_schedule_runs_the_workflow_over_a_prefix(scheduled: dict[str, Any]) -> None:
    (schedule,) = of_type(scheduled["Work"], "AWS::Scheduler::Schedule")
    assert schedule["ScheduleExpression"] == "cron(0 6 * * ? *)"
    assert schedule["State"] == "ENABLED"
    assert '"s3_prefix":"scheduled/"' in json.dumps(schedule["Target"]["Input"]).replace("\\", "")
    assert "DeadLetterConfig" in schedule["Target"]


def test_alerts_go_to_the_configured_address(scheduled: dict[str, Any]) -> None:
    (subscription,) = of_type(scheduled["Data"], "AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")


def test_classes_reach_the_classifier_in_label_order(scheduled: dict[str, Any]) -> None:
    classes = [
        function["Environment"]["Variables"]["CLASSES"]
        for function in of_type(scheduled["Work"], "AWS::Lambda::Function")
        if "CLASSES" in function.get("Environment", {}).get("Variables", {})
    ]
    assert [json.loads(value) for value in classes] == [["bus", "streetcar", "pickup_truck"]]
