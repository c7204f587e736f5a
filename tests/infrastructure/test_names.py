"""Every generated name is accepted by its service, in an environment with the longest name."""

import functools
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
import regex
from botocore.model import StringShape, StructureShape

from data_prep.baseline import transform_job_name
from lambda_src.retraining import training_attempts
from lambda_src.retraining.release import endpoint_config_name
from lambda_src.retraining.retraining_guard import Request
from lambda_src.shared.item import MAX_KEY_BYTES, ImageRef
from lambda_src.shared.model_documents import document_key
from stacks.config import parse_environment
from stacks.shared import prefixes
from stacks.shared.hyperparameters import parameters_digest
from tests.conftest import LONGEST_NAME
from tests.infrastructure.conftest import LONGEST_BOUNDED_NAME, text
from tests.infrastructure.test_references import templates

CONFIG = parse_environment(LONGEST_NAME, {})
STAGE = CONFIG.stage_name
SESSION = boto3.Session()
REGION = max(
    (r for p in SESSION.get_available_partitions() for r in SESSION.get_available_regions("sagemaker", p)), key=len
)
EXECUTION_NAME = "x" * 80
RUN = Request.of({"execution_arn": "arn", "started_at": "2026-11-25T08:00:00Z"}).run
MOMENT = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)  # fixed: names are test ids, the same in each process
JOB = f"{training_attempts.base_name(STAGE, 'f' * 64, parameters_digest(CONFIG))}-9999"
IMAGE = ImageRef("bucket", "k" * MAX_KEY_BYTES, "v" * 32)

# Service, operation and member of its request
ENDPOINT, ENDPOINT_CONFIG, MODEL = (
    ("sagemaker", f"Create{kind}", f"{kind}Name") for kind in ("Endpoint", "EndpointConfig", "Model")
)
TRAINING_JOB, TRANSFORM_JOB = (
    ("sagemaker", f"Create{kind}", f"{kind}Name") for kind in ("TrainingJob", "TransformJob")
)
PARAMETER, KEY = ("ssm", "PutParameter", "Name"), ("s3", "PutObject", "Key")

# Names that functions and commands create; test_requests.py has those of the state machines' requests
MADE = [
    (ENDPOINT, CONFIG.endpoint_name),
    (TRAINING_JOB, JOB),
    (MODEL, JOB),
    (ENDPOINT_CONFIG, endpoint_config_name(JOB[:-3], RUN)),
    (TRANSFORM_JOB, transform_job_name(JOB, MOMENT)),
    (MODEL, transform_job_name(JOB, MOMENT)),
    (PARAMETER, CONFIG.artifact_parameter),
    (PARAMETER, CONFIG.model_metadata_parameter),
    (PARAMETER, CONFIG.baseline_parameter),
    (("sagemaker", "CreateModelPackage", "ModelPackageGroupName"), CONFIG.model_package_group),
    (("cloudwatch", "PutMetricData", "Namespace"), CONFIG.metric_namespace),
    (("sagemaker-runtime", "InvokeEndpoint", "InferenceId"), IMAGE.inference_id),
    (KEY, IMAGE.prediction_key),
    (KEY, f"{prefixes.TRANSFORMS}{EXECUTION_NAME}/{IMAGE.key}.out"),
    (KEY, f"{prefixes.MANIFESTS}{EXECUTION_NAME}.json"),
    (KEY, document_key(JOB, "predictions")),
]
# Names in the templates, by type and property
NAMED = {
    ("AWS::ApplicationAutoScaling::ScalingPolicy", "PolicyName"): (
        "application-autoscaling",
        "PutScalingPolicy",
        "PolicyName",
    ),
    ("AWS::CloudWatch::Alarm", "AlarmName"): ("cloudwatch", "PutMetricAlarm", "AlarmName"),
    ("AWS::CloudWatch::Dashboard", "DashboardName"): ("cloudwatch", "PutDashboard", "DashboardName"),
    ("AWS::IAM::Policy", "PolicyName"): ("iam", "PutRolePolicy", "PolicyName"),
    ("AWS::IAM::Role", "RoleName"): ("iam", "CreateRole", "RoleName"),
    ("AWS::Logs::LogGroup", "LogGroupName"): ("logs", "CreateLogGroup", "logGroupName"),
    ("AWS::SageMaker::Endpoint", "EndpointName"): ENDPOINT,
    ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupName"): (
        "sagemaker",
        "CreateModelPackageGroup",
        "ModelPackageGroupName",
    ),
    ("AWS::StepFunctions::StateMachine", "StateMachineName"): ("stepfunctions", "CreateStateMachine", "name"),
}
# Patterns that the documentation states, but not the model
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
DOCUMENTED = {
    "DashboardName": "[a-zA-Z0-9_-]+",
    "name": "[a-zA-Z0-9_-]+",
    "Name": "(/[a-zA-Z0-9_.-]+){1,15}",
}
MAX_BYTES = {"Key": 1024}


def problem(member: tuple[str, str, str], name: str) -> str:
    """Why the service would refuse the name; "" if it would not."""
    service, operation, key = member
    request = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    assert isinstance(request, StructureShape)
    shape = request.members[key]
    assert isinstance(shape, StringShape)
    rules = shape.metadata
    pattern = rules.get("pattern", DOCUMENTED.get(key, ".*"))
    size, longest = len(name.encode()), MAX_BYTES.get(key, rules.get("max"))
    assert longest or pattern != ".*", f"nobody knows what {member} may be"
    if longest and size > longest:
        return f"{name} is longer than {longest}: {size}"
    return "" if regex.fullmatch(pattern, name, flags=regex.DOTALL) else f"{name} does not match {pattern}"


@pytest.mark.parametrize(("member", "name"), MADE, ids=lambda value: value[2] if isinstance(value, tuple) else None)
def test_names_made_by_functions_and_commands_are_accepted(member: tuple[str, str, str], name: str) -> None:
    assert not problem(member, name)


def own_names(template: dict[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """The properties by which resources are called, other than what is a reference to another resource."""
    for resource in template["Resources"].values():
        for key, value in resource.get("Properties", {}).items():
            kind = resource["Type"].rpartition("::")[2]
            is_name = key in {"Name", f"{kind}Name"} or (key == "PolicyName" and "Policy" in kind)
            if is_name and (isinstance(value, str) or "Fn::Join" in value):
                yield (resource["Type"], key), text(value, reference)


def reference(name: str) -> str:
    """The longest that a reference within a name becomes."""
    return {"AWS::Region": REGION}.get(name, "0b7a5b3e-5f1c-4f63-8a44-7a8f7ac6ff5b")


def test_names_in_templates_are_accepted(variants: Path) -> None:
    names = (LONGEST_NAME, LONGEST_BOUNDED_NAME)
    stacks = [template for name in names for template in templates(variants / f"assembly-{name}").values()]
    found = set(itertools.chain.from_iterable(map(own_names, stacks)))
    assert {key for key, _ in found} == set(NAMED)
    assert not [said for key, name in found if (said := problem(NAMED[key], name))]


# Types of which an account has one of a name, whatever the region, and where their name is
GLOBAL = {
    "AWS::Budgets::Budget": ("Budget", "BudgetName"),
    "AWS::CloudWatch::Dashboard": ("DashboardName",),
    "AWS::IAM::Role": ("RoleName",),
    "AWS::S3::Bucket": ("BucketName",),
}


def test_an_environment_can_be_deployed_to_two_regions_of_an_account(variants: Path) -> None:
    found: dict[str, list[str]] = {}
    names = (LONGEST_NAME, LONGEST_BOUNDED_NAME)
    for template in itertools.chain.from_iterable(templates(variants / f"assembly-{name}").values() for name in names):
        for resource in template["Resources"].values():
            name = functools.reduce(
                lambda value, key: value.get(key, {}), GLOBAL.get(resource["Type"], ()), resource.get("Properties", {})
            )
            if resource["Type"] in GLOBAL and name:  # CloudFormation generates the others
                found.setdefault(resource["Type"], []).append(text(name, reference))
    assert found.keys() == GLOBAL.keys() - {"AWS::S3::Bucket"}
    assert [name for names in found.values() for name in names if REGION not in name] == []


def test_stacks_and_exports_have_names_that_cloudformation_accepts(variants: Path) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
    for stack, template in templates(variants / f"assembly-{LONGEST_NAME}").items():
        assert regex.fullmatch(r"[a-zA-Z][-a-zA-Z0-9]{0,127}", stack), stack
        for output in template.get("Outputs", {}).values():
            assert len(output.get("Export", {}).get("Name", "")) <= 255


def test_a_hyphen_at_the_end_of_an_environments_name_would_end_endpoints_and_groups() -> None:
    """Why stacks/config.py refuses it."""
    assert problem(ENDPOINT, "scones-dev-")
    assert not problem(ENDPOINT, "scones-d--v")


def test_the_table_refuses_what_services_refuse() -> None:
    assert problem(TRAINING_JOB, f"{JOB}-{JOB}")
    assert problem(KEY, "ü" * 513)
    assert problem(PARAMETER, "/scones/dev/model artifact")
