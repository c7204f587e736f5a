"""SageMaker's own monitoring schedules, in an environment that asks for them; dev and prod do not."""

import json
import re
import subprocess
from typing import Any

import pytest

from lambda_src.monitoring.record_preprocessor import preprocess_handler
from stacks.config import PROJECT_ROOT
from stacks.monitoring.sagemaker_model_monitor import REGISTRY_ACCOUNTS, REPOSITORY
from tests.infrastructure.conftest import Template, synthesize, text
from tests.unit.lambda_src.monitoring.test_record_preprocessor import image, record


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Template:
    output = tmp_path_factory.mktemp("monitored")
    synthesize(output, {"dev": {"monitoring": {"sagemaker_model_monitor": True}}})
    (path,) = (output / "assembly-dev").glob("devMonitoring*.template.json")
    return Template(path, json.loads(path.read_text()))


def endpoint_input(monitored: Template, kind: str) -> dict[str, Any]:
    job = monitored.only(f"AWS::SageMaker::{kind}JobDefinition")
    found: dict[str, Any] = job[f"{kind}JobInput"]["EndpointInput"]
    return found


def test_it_is_off_unless_asked_for(monitoring: Template) -> None:
    assert not [r for r in monitoring.content["Resources"].values() if r["Type"].startswith("AWS::SageMaker::")]


def test_cfn_lint_finds_nothing(monitored: Template) -> None:
    command = ["cfn-lint", "--ignore-checks", "W3005", "--", str(monitored.path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("kind", "expression"), [("DataQuality", "cron(0 * ? * * *)"), ("ModelQuality", "cron(0 0 ? * * *)")]
)
def test_each_kind_has_a_schedule_over_the_endpoints_captures(monitored: Template, kind: str, expression: str) -> None:
    assert endpoint_input(monitored, kind)["EndpointName"] == "scones-dev"
    (schedule,) = [
        properties["MonitoringScheduleConfig"]
        for properties in monitored.resources("AWS::SageMaker::MonitoringSchedule").values()
        if properties["MonitoringScheduleConfig"]["MonitoringType"] == kind
    ]
    assert schedule["ScheduleConfig"]["ScheduleExpression"] == expression
    assert f"ModelMonitor{kind}" in json.dumps(schedule["MonitoringJobDefinitionName"])


def test_model_quality_joins_the_preprocessors_prediction_with_the_labels(monitored: Template) -> None:
    job = monitored.only("AWS::SageMaker::ModelQualityJobDefinition")
    attribute = endpoint_input(monitored, "ModelQuality")["InferenceAttribute"]
    assert attribute in preprocess_handler(record(image("PNG")))
    assert text(job["ModelQualityJobInput"]["GroundTruthS3Input"]["S3Uri"]).endswith("/ground-truth")
    assert job["ModelQualityAppSpecification"]["ProblemType"] == "MulticlassClassification"


def test_both_run_the_script_of_this_project(monitored: Template) -> None:
    names = set()
    for kind in ("DataQuality", "ModelQuality"):
        specification = monitored.only(f"AWS::SageMaker::{kind}JobDefinition")[f"{kind}AppSpecification"]
        uri = json.dumps(specification["RecordPreprocessorSourceUri"])
        names.update(re.findall(r"s3://.*/([0-9a-f]{64}\.py)", uri))
    (name,) = names
    staged = monitored.path.parent / f"asset.{name}"
    if not staged.exists():
        staged = monitored.path.parent.parent / f"asset.{name}"
    assert staged.read_text() == (PROJECT_ROOT / "lambda_src" / "monitoring" / "record_preprocessor.py").read_text()


def test_its_role_reads_captures_and_labels_and_writes_below_its_own_prefix(monitored: Template) -> None:
    statements = {s["Sid"]: s for s in monitored.statements("ModelMonitorRole") if "Sid" in s}

    def keys(sid: str) -> set[str]:
        resources = statements[sid]["Resource"]
        return {text(arn).partition(">/")[2] for arn in (resources if isinstance(resources, list) else [resources])}

    assert keys("WriteReports") == {"monitoring/sagemaker/*"}
    assert {"data-capture/scones-dev/*", "ground-truth/*", "monitoring/sagemaker/*"} < keys("ReadCapturesAndLabels")
    assert {sid for sid, s in statements.items() if s["Resource"] == "*"} == {"SignInToRegistry", "PublishMetrics"}


def test_the_registry_accounts_are_those_of_the_sdk() -> None:
    from sagemaker.core import image_uris  # noqa: PLC0415 - importing it takes seconds

    config = image_uris.config_for_framework("model-monitor")["versions"][""]
    assert config["registries"] == REGISTRY_ACCOUNTS
    assert config["repository"] == REPOSITORY
