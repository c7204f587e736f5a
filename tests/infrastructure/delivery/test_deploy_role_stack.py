"""The role that GitHub deploys with: who may assume it, and that it has exactly the permissions of `make deploy`."""

import ast
import fnmatch
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore import xform_name

from local.permissions import CALLER, EXECUTION_ROLE, Call, needed, own_action
from scanners.policies import ACCOUNT, REGION, Environment
from stacks.config import PROJECT_ROOT, parse_environment
from stacks.retraining.training_job import training_job_request, training_resources
from stacks.shared.transform_job import transform_job_request
from tests.infrastructure.conftest import LONGEST_BOUNDED_NAME, VARIANTS, Template, template_of, text
from tests.infrastructure.test_least_privilege import allows

ISSUER = "token.actions.githubusercontent.com"


@pytest.fixture(scope="module")
def deploy_role(variants: Path) -> Template:
    return template_of(variants, LONGEST_BOUNDED_NAME, "DeployRole")


def test_only_the_repository_s_environment_of_the_same_name_may_take_it_on(deploy_role: Template) -> None:
    """GitHub's subject has the repository's and its owner's ids, if it is younger than 2026-07-15."""
    (statement,) = deploy_role.only("AWS::IAM::Role")["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert text(statement["Principal"]["Federated"]).endswith(f":oidc-provider/{ISSUER}")
    assert statement["Condition"] == {
        "StringEquals": {
            f"{ISSUER}:aud": "sts.amazonaws.com",
            f"{ISSUER}:sub": f"repo:owner@1234/name@5678:environment:{LONGEST_BOUNDED_NAME}",
        }
    }


def test_the_workflow_assumes_the_role_by_its_name(deploy_role: Template) -> None:
    name = text(deploy_role.only("AWS::IAM::Role")["RoleName"])
    workflow = yaml.safe_load((PROJECT_ROOT / ".github/workflows/deploy-environment.yml").read_text())
    (role,) = [
        step["with"]["role-to-assume"]
        for step in workflow["jobs"]["deploy"]["steps"]
        if "configure-aws-credentials" in step.get("uses", "")
    ]
    known = {"${{ inputs.environment }}": LONGEST_BOUNDED_NAME, "${{ vars.AWS_REGION }}": "<AWS::Region>"}
    assert re.sub(r"\$\{\{.*?\}\}", lambda found: known[found[0]], role.rpartition("role/")[2]) == name
    assert workflow["jobs"]["deploy"]["environment"] == "${{ inputs.environment }}"


def test_its_permissions_are_limited_to_this_environment(deploy_role: Template) -> None:
    for statement in deploy_role.statements("DeployRole"):
        if statement["Sid"] in {"LookAround", "ReadBootstrapVersion", "UseTheRolesOfCdk", "FollowTheTraining"}:
            continue
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for resource in map(text, resources):
            of_this_environment = LONGEST_BOUNDED_NAME in resource or "<ExportsOutput" in resource
            assert of_this_environment, (statement["Sid"], resource)


def test_only_actions_without_resource_level_permissions_are_allowed_on_all_resources(deploy_role: Template) -> None:
    unbound = [s for s in deploy_role.statements("DeployRole") if s["Resource"] == "*"]
    assert [sorted(statement["Action"]) for statement in unbound] == [
        [
            "cloudformation:DescribeStacks",
            "lambda:GetAccountSettings",
            "sagemaker:ListTrainingJobs",
            "servicequotas:ListAWSDefaultServiceQuotas",
            "servicequotas:ListServiceQuotas",
        ]
    ]


# IAM's names of services, where they differ from the SDK's
IAM_SERVICES = {"service-quotas": "servicequotas", "stepfunctions": "states", "sagemaker-runtime": "sagemaker"}
# IAM's actions, where they differ from the operation
IAM_ACTIONS = {"s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket"}
# The modules in which `make deploy` calls AWS
MODULES = (
    *(f"data_prep/{name}.py" for name in ("artifact", "aws", "baseline", "target", "training", "upload")),
    "lambda_src/retraining/training_attempts.py",
    *(f"ops/{name}.py" for name in ("deploy", "doctor", "outputs", "quotas", "smoke", "templates")),
)
# Needs no permission; only with an option that `make deploy` does not set; the `search` of a regular expression
NOT_NEEDED = {"sts:GetCallerIdentity", "s3:DeleteObjects", "sagemaker:Search"}


def operations(service: str) -> dict[str, str]:
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name): name for name in model.operation_names}


def calls(module: str) -> Iterator[str]:
    """IAM actions of the AWS calls that a module makes: its attributes and paginators that are operations."""
    tree = ast.parse((PROJECT_ROOT / module).read_text())
    words = (
        {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        | {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    )
    for service in (
        *("cloudformation", "lambda", "logs", "s3", "sagemaker", "sagemaker-runtime"),
        *("service-quotas", "sns", "ssm", "stepfunctions", "sts"),
    ):
        if words & {service, service.replace("-", "_"), f"{service}_"}:  # `lambda` alone is a keyword
            for word in words & set(operations(service)):
                action = f"{IAM_SERVICES.get(service, service)}:{operations(service)[word]}"
                yield IAM_ACTIONS.get(action, action)


def test_it_may_make_every_call_that_a_deployment_makes(deploy_role: Template) -> None:
    allowed: set[str] = set()
    for statement in deploy_role.statements("DeployRole"):
        action = statement["Action"]
        allowed.update([action] if isinstance(action, str) else action)
    made = {action for module in MODULES for action in calls(module)} - NOT_NEEDED
    assert {"sagemaker:CreateTrainingJob", "ssm:PutParameter", "states:StartExecution", "s3:PutObject"} <= made
    assert not {action for action in made if not any(fnmatch.fnmatch(action, pattern) for pattern in allowed)}
    # No action is superfluous, except for CDK's own roles and what SageMaker checks besides a call's own action
    assert allowed - made == {"sts:AssumeRole", "iam:PassRole", "sagemaker:AddTags"}


def test_it_has_the_permissions_that_sagemaker_requires_to_start_a_training_job_and_a_baseline(variants: Path) -> None:
    environment = Environment(variants, LONGEST_BOUNDED_NAME)
    roles = environment.arns("AWS::IAM::Role")
    (key,) = environment.arns("AWS::KMS::Key").values()
    config = parse_environment(LONGEST_BOUNDED_NAME, VARIANTS[LONGEST_BOUNDED_NAME])
    name = f"{config.stage_name}-j"
    train = training_job_request(
        config,
        job_name=name,
        bucket="b",
        role_arn=roles["SageMakerRole"],
        image="i",
        num_training_samples="1000",
        resources=training_resources("ml.p3.2xlarge", key_arn=key),
        checkpoint_uri=f"s3://b/models/{name}/checkpoints/",
        tags={},
        key_arn=key,
    )
    transform = transform_job_request(
        config, job_name=name, model=name, source_type="S3Prefix", source_uri="u", output_uri="o", key_arn=key
    )
    model = {"ModelName": name, "EnableNetworkIsolation": True, "ExecutionRoleArn": roles["SageMakerRole"]}
    statements = {policy.owner: policy.statements for policy in environment.role_policies()}
    requests = {"CreateTrainingJob": train, "CreateTransformJob": transform, "CreateModel": model}
    asked = set()
    for operation, request in requests.items():
        call = Call(operation, request, region=REGION, account=ACCOUNT)
        for permission in (own_action(call), *needed(call)):
            if CALLER in permission.principals:
                asked.add(permission.action)
                principals = ["SageMakerRole" if p == EXECUTION_ROLE else "DeployRole" for p in permission.principals]
                assert any(allows(statements[role], permission) for role in principals), permission
    assert {"iam:PassRole", "sagemaker:AddTags", "kms:CreateGrant"} <= asked


def test_without_a_repository_there_is_no_role(assembly: Path, environment: str) -> None:
    assert not list((assembly / f"assembly-{environment}").glob("*DeployRole*"))


def test_no_two_environments_share_a_name(assembly: Path) -> None:
    """Several people deploy into one account: every explicit name contains the environment."""
    named: dict[str, set[tuple[str, str]]] = {}
    for environment in ("dev", "prod"):
        for path in (assembly / f"assembly-{environment}").glob("*.template.json"):
            for resource in json.loads(path.read_text())["Resources"].values():
                for key, value in physical_names(resource):
                    assert environment in text(value), (resource["Type"], key, value)
                    named.setdefault(environment, set()).add((resource["Type"], text(value)))
    assert named["dev"]
    assert not named["dev"] & named["prod"]


def physical_names(resource: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Properties that name the resource itself, such as EndpointName of AWS::SageMaker::Endpoint."""
    kind = resource["Type"].rpartition("::")[2]
    if resource["Type"] == "AWS::IAM::Policy":  # its name need only be unique within its role
        return
    for key in (f"{kind}Name", "Name", "RoleName", "TopicName", "QueueName", "BucketName", "FunctionName"):
        value = resource.get("Properties", {}).get(key)
        # A reference to another resource is not a custom name
        if isinstance(value, str) or (isinstance(value, dict) and "Fn::Join" in value):
            yield key, value
