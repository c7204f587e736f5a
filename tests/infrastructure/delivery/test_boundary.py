"""The boundary of an environment that shares its account: what the environment needs is within, nothing else is.

One policy bounds CloudFormation's role, the other roles of `cdk bootstrap`, and every role that the stacks make.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.permissions import Permission
from scanners.policies import ACCOUNT, PARTITION, REGION, Environment
from stacks.config import PROJECT_ROOT, parse_environment
from tests.conftest import LONGEST_NAME
from tests.infrastructure.conftest import synthesize, text
from tests.infrastructure.role_needs import NEEDS
from tests.infrastructure.second_opinion import Question, Statements, decide
from tests.infrastructure.test_least_privilege import CONTEXT, Roles, allows

TEMPLATE = PROJECT_ROOT / "stacks/delivery/boundary.yaml"
OWN_TAGS = (("aws:ResourceTag/application", "scones-unlimited"), ("aws:ResourceTag/environment", "dev"))
NEW_TAGS = (("aws:RequestTag/application", "scones-unlimited"), ("aws:RequestTag/environment", "dev"))
BOUNDED = (("iam:PermissionsBoundary", f"arn:aws:iam::{ACCOUNT}:policy/scones-dev-boundary"),)
# Of a resource of each type: the action that makes it, and its ARN once CloudFormation has named it
CREATIONS: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": (
        "application-autoscaling:RegisterScalableTarget",
        "application-autoscaling:{region}:{account}:scalable-target/x",
        (),
    ),
    "AWS::ApplicationAutoScaling::ScalingPolicy": (
        "application-autoscaling:PutScalingPolicy",
        "application-autoscaling:{region}:{account}:scalable-target/x",
        (),
    ),
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbudgetservice.html
    "AWS::Budgets::Budget": ("budgets:ModifyBudget", "budgets::{account}:budget/scones-dev", ()),
    "AWS::CloudWatch::Alarm": ("cloudwatch:PutMetricAlarm", "cloudwatch:{region}:{account}:alarm:scones-dev-x", ()),
    "AWS::CloudWatch::Dashboard": ("cloudwatch:PutDashboard", "cloudwatch::{account}:dashboard/scones-dev", ()),
    "AWS::Events::Rule": ("events:PutRule", "events:{region}:{account}:rule/scones-dev-Data-x", ()),
    "AWS::IAM::ManagedPolicy": ("iam:CreatePolicy", "iam::{account}:policy/scones-dev-Console-x", ()),
    "AWS::IAM::Policy": ("iam:PutRolePolicy", "iam::{account}:role/scones-dev-Data-x", BOUNDED),
    "AWS::IAM::Role": ("iam:CreateRole", "iam::{account}:role/scones-dev-Data-x", BOUNDED),
    "AWS::KMS::Key": ("kms:CreateKey", "", NEW_TAGS),
    "AWS::Lambda::Function": ("lambda:CreateFunction", "lambda:{region}:{account}:function:scones-dev-Data-x", ()),
    "AWS::Lambda::Permission": ("lambda:AddPermission", "lambda:{region}:{account}:function:scones-dev-Data-x", ()),
    "AWS::Logs::LogGroup": ("logs:CreateLogGroup", "logs:{region}:{account}:log-group:scones-dev-Data-x", ()),
    "AWS::Logs::MetricFilter": (
        "logs:PutMetricFilter",
        "logs:{region}:{account}:log-group:/aws/vendedlogs/states/scones-dev-x",
        (),
    ),
    "AWS::S3::Bucket": ("s3:CreateBucket", "s3:::scones-dev-data-x", ()),
    "AWS::S3::BucketPolicy": ("s3:PutBucketPolicy", "s3:::scones-dev-data-x", ()),
    "AWS::SNS::Subscription": ("sns:Subscribe", "sns:{region}:{account}:scones-dev-Data-x", ()),
    "AWS::SNS::Topic": ("sns:CreateTopic", "sns:{region}:{account}:scones-dev-Data-x", ()),
    "AWS::SNS::TopicPolicy": ("sns:SetTopicAttributes", "sns:{region}:{account}:scones-dev-Data-x", ()),
    "AWS::SQS::Queue": ("sqs:CreateQueue", "sqs:{region}:{account}:scones-dev-Data-x", ()),
    "AWS::SQS::QueuePolicy": ("sqs:SetQueueAttributes", "sqs:{region}:{account}:scones-dev-Data-x", ()),
    "AWS::SageMaker::DataQualityJobDefinition": (
        "sagemaker:CreateDataQualityJobDefinition",
        "sagemaker:{region}:{account}:data-quality-job-definition/x",
        NEW_TAGS,
    ),
    "AWS::SageMaker::Endpoint": ("sagemaker:CreateEndpoint", "sagemaker:{region}:{account}:endpoint/scones-dev", ()),
    "AWS::SageMaker::EndpointConfig": (
        "sagemaker:CreateEndpointConfig",
        "sagemaker:{region}:{account}:endpoint-config/x",
        NEW_TAGS,
    ),
    "AWS::SageMaker::Model": ("sagemaker:CreateModel", "sagemaker:{region}:{account}:model/x", NEW_TAGS),
    "AWS::SageMaker::ModelPackageGroup": (
        "sagemaker:CreateModelPackageGroup",
        "sagemaker:{region}:{account}:model-package-group/scones-dev",
        (),
    ),
    "AWS::SageMaker::ModelQualityJobDefinition": (
        "sagemaker:CreateModelQualityJobDefinition",
        "sagemaker:{region}:{account}:model-quality-job-definition/x",
        NEW_TAGS,
    ),
    "AWS::SageMaker::MonitoringSchedule": (
        "sagemaker:CreateMonitoringSchedule",
        "sagemaker:{region}:{account}:monitoring-schedule/scones-dev-x",
        (),
    ),
    "AWS::Scheduler::Schedule": (
        "scheduler:CreateSchedule",
        "scheduler:{region}:{account}:schedule/default/scones-dev-Data-x",
        (),
    ),
    "AWS::StepFunctions::StateMachine": (
        "states:CreateStateMachine",
        "states:{region}:{account}:stateMachine:scones-dev-x",
        (),
    ),
}
# Beyond the boundary, whatever a role's own policies say
REFUSED = """
    iam:CreateUser arn:aws:iam::{account}:user/scones-dev-x
    iam:CreatePolicyVersion arn:aws:iam::{account}:policy/scones-dev-boundary
    iam:CreatePolicyVersion arn:aws:iam::{account}:policy/scones-prod-Console-x
    iam:AttachRolePolicy arn:aws:iam::{account}:role/scones-dev-x
    iam:AttachUserPolicy arn:aws:iam::{account}:user/me
    iam:CreateRole arn:aws:iam::{account}:role/scones-dev-x
    iam:CreateRole arn:aws:iam::{account}:role/scones-dev-x iam:PermissionsBoundary=arn:aws:iam::{account}:policy/mine
    iam:CreateRole arn:aws:iam::{account}:role/admin iam:PermissionsBoundary=arn:aws:iam::{account}:policy/scones-dev-boundary
    iam:PutRolePolicy arn:aws:iam::{account}:role/cdk-own-cfn-exec-role-x
    iam:DeleteRolePermissionsBoundary arn:aws:iam::{account}:role/scones-dev-x
    iam:PutRolePermissionsBoundary arn:aws:iam::{account}:role/scones-dev-x iam:PermissionsBoundary=mine
    iam:PassRole arn:aws:iam::{account}:role/scones-prod-x
    sts:AssumeRole arn:aws:iam::{account}:role/cdk-hnb659fds-deploy-role-x
    sts:AssumeRole arn:aws:iam::{account}:role/cdk-prod-deploy-role-x
    sts:AssumeRole arn:aws:iam::{account}:role/admin
    cloudformation:UpdateStack arn:aws:cloudformation:us-east-1:{account}:stack/scones-prod-Data/x
    cloudformation:DeleteStack arn:aws:cloudformation:us-east-1:{account}:stack/CDKToolkit/x
    lambda:UpdateFunctionCode arn:aws:lambda:us-east-1:{account}:function:scones-prod-Workflow-x
    s3:GetObject arn:aws:s3:::scones-prod-data-bucket/incoming/a.png
    s3:GetObject arn:aws:s3:::cdk-prod-assets-x/template.json
    ssm:PutParameter arn:aws:ssm:us-east-1:{account}:parameter/scones/prod/model/artifact-uri
    sagemaker:UpdateEndpoint arn:aws:sagemaker:us-east-1:{account}:endpoint/scones-prod
    sagemaker:DeleteModel arn:aws:sagemaker:us-east-1:{account}:model/Model-x
    sagemaker:DeleteModel arn:aws:sagemaker:us-east-1:{account}:model/Model-x aws:ResourceTag/application=scones-unlimited aws:ResourceTag/environment=prod
    sagemaker:AddTags arn:aws:sagemaker:us-east-1:{account}:model/Model-x
    kms:Decrypt arn:aws:kms:us-east-1:{account}:key/x aws:ResourceTag/application=scones-unlimited aws:ResourceTag/environment=prod
    kms:TagResource arn:aws:kms:us-east-1:{account}:key/x aws:RequestTag/application=scones-unlimited aws:RequestTag/environment=dev aws:ResourceTag/environment=prod
    states:StartExecution arn:aws:states:us-east-1:{account}:stateMachine:scones-prod-classification
    ec2:RunInstances *
"""  # noqa: E501


@cache
def boundary(environment: str = "dev", qualifier: str = "own") -> Statements:
    """Its statements with every reference filled in."""
    values = {
        "AWS::Partition": PARTITION,
        "AWS::AccountId": ACCOUNT,
        "Environment": environment,
        "Qualifier": qualifier,
    }

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(item) for item in value]
        if isinstance(value, dict):
            if set(value) == {"Ref"}:
                return values[value["Ref"]]
            if set(value) == {"Fn::Sub"}:
                return re.sub(r"\$\{([\w:]+)\}", lambda name: values[name[1]], value["Fn::Sub"])
            return {key: filled(item) for key, item in value.items()}
        return value

    document = yaml.safe_load(TEMPLATE.read_text())["Resources"]["Boundary"]["Properties"]["PolicyDocument"]
    statements: Statements = filled(document["Statement"])
    return statements


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cloud assembly of an environment with everything that adds resources."""
    output = tmp_path_factory.mktemp("bounded")
    settings = {
        "github_repository": "owner/name",
        "bootstrap_qualifier": "own",
        "endpoint": {"instance_count": 2, "max_instance_count": 4},
        "alert_email": "ops@example.com",
        "customer_managed_key": True,
        "access_logging": True,
        "schedule": {"expression": "rate(1 day)", "workflow": "distributed-map"},
        "retraining": {"schedule": "rate(7 days)", "approval": True},
        "monitoring": {"sagemaker_model_monitor": True, "monthly_budget_usd": 100},
    }
    synthesize(output, {"dev": settings})
    return output


def resources(assembly: Path) -> Iterator[dict[str, Any]]:
    for path in (assembly / "assembly-dev").glob("*.template.json"):
        yield from json.loads(path.read_text())["Resources"].values()


def needs(assembly: Path) -> Iterator[tuple[str, Permission]]:
    """What each role needs, on resources with the names that CloudFormation gives, or with the environment's tags."""
    roles = Roles(assembly, "dev")
    named = {arn.rpartition(":")[2].rpartition("/")[2] for arn in _arns(roles.environment)} - {"dev"}
    pattern = re.compile(rf"\b({'|'.join(sorted(named, key=len, reverse=True))})\b")
    for role in NEEDS:
        for request in roles.needs(role):
            resource = request.resource
            if request.action.startswith("s3:"):
                resource = resource.replace("arn:aws:s3:::", "arn:aws:s3:::scones-dev-", 1)
            elif "scones-dev" not in resource:
                resource = pattern.sub(r"scones-dev-Data-\1", resource)
            yield role, Permission(request.action, resource, (*request.context, *OWN_TAGS))


def _arns(environment: Environment) -> Iterator[str]:
    for kind in ("Lambda::Function", "StepFunctions::StateMachine", "SQS::Queue", "IAM::Role", "SNS::Topic"):
        yield from environment.arns(f"AWS::{kind}").values()
    for arn in environment.arns("AWS::Logs::LogGroup").values():
        yield arn.removesuffix(":*")


def test_every_role_may_do_within_it_what_it_needs(bounded: Path) -> None:
    outside = {(role, r.action, r.resource) for role, r in needs(bounded) if not allows(boundary(), r)}
    assert not outside


def test_the_deploy_role_may_do_within_it_what_its_policy_says(bounded: Path) -> None:
    (policy,) = [p for p in Environment(bounded, "dev").role_policies() if p.owner == "DeployRole"]
    for statement in policy.statements:
        actions, found = (
            [value] if isinstance(value, str) else value for value in (statement["Action"], statement["Resource"])
        )
        for action in actions:
            for resource in found:
                named = re.sub(r"(?<=:::)(?=Bucket)", "scones-dev-", resource)
                named = re.sub(r"(?<=:)(AlertTopic|ClassificationWorkflow|SageMakerRole)", r"scones-dev-\1", named)
                named = named.replace("role/SageMakerRole", "role/scones-dev-Data-SageMakerRole")
                request = Permission(action, named if named == "*" else named.replace("*", "x"), OWN_TAGS)
                assert allows(boundary(), request), request


def test_every_resource_can_be_made_within_it(bounded: Path) -> None:
    types = {resource["Type"] for resource in resources(bounded)}
    assert types == set(CREATIONS), "say in CREATIONS how the new type is made"
    for action, arn, context in CREATIONS.values():
        resource = f"arn:aws:{arn}".format(region=REGION, account=ACCOUNT) if arn else "*"
        assert allows(boundary(), Permission(action, resource, context)), action


def refused() -> list[Permission]:
    words = [line.format(account=ACCOUNT).split() for line in REFUSED.strip().splitlines()]
    return [
        Permission(action, resource, tuple((key, value) for key, _, value in (c.partition("=") for c in context)))
        for action, resource, *context in words
    ]


@pytest.mark.parametrize("request_", refused(), ids=lambda request: f"{request.action} {request.resource}")
def test_nothing_else_can_be_done_within_it(request_: Permission) -> None:
    assert not allows(boundary(), request_)


def test_another_evaluator_decides_the_same(bounded: Path) -> None:
    asked = [*(request for _, request in needs(bounded)), *refused()]
    keys = [p for p in Environment(bounded, "dev").resource_policies() if p.owner.startswith("AWS::KMS::Key")]
    questions = [
        Question(
            boundary(),
            r.action,
            r.resource,
            CONTEXT | dict(r.context),
            resource_policy=keys[0].statements if r.action.startswith("kms:") else [],
        )
        for r in asked
    ]
    differing = {
        (request.action, request.resource, opinion)
        for request, opinion in zip(asked, decide(questions), strict=True)
        if (opinion == "Allowed") != allows(boundary(), request)
    }
    assert not differing


def test_every_role_of_the_stacks_is_bounded(bounded: Path) -> None:
    roles = [resource["Properties"] for resource in resources(bounded) if resource["Type"] == "AWS::IAM::Role"]
    assert len(roles) > 20
    for role in roles:
        assert json.dumps(role["PermissionsBoundary"]).endswith(':policy/scones-dev-boundary"]]}')


def test_every_role_has_the_boundary_that_a_company_demands_and_none_without(variants: Path) -> None:
    def boundaries(environment: str) -> set[str]:
        roles = [
            resource["Properties"]
            for path in (variants / f"assembly-{environment}").glob("*.template.json")
            for resource in json.loads(path.read_text())["Resources"].values()
            if resource["Type"] == "AWS::IAM::Role"
        ]
        assert len(roles) > 20
        return {text(role.get("PermissionsBoundary", "")) for role in roles}

    assert boundaries(LONGEST_NAME) == {"arn:<AWS::Partition>:iam::<AWS::AccountId>:policy/company/developers"}
    assert boundaries("plain") == {""}


def test_it_fits_into_a_managed_policy() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 6,144 characters, without spaces"""
    assert len(re.sub(r"\s", "", json.dumps(boundary("a" * 16, "q" * 10)))) <= 6_144 - 40


def test_the_stacks_are_deployed_through_roles_of_their_own(bounded: Path) -> None:
    manifest = json.loads((bounded / "assembly-dev/manifest.json").read_text())
    stacks = [a["properties"] for a in manifest["artifacts"].values() if a["type"] == "aws:cloudformation:stack"]
    assert stacks
    for stack in stacks:
        assert ":role/cdk-own-deploy-role-" in stack["assumeRoleArn"]
        assert ":role/cdk-own-cfn-exec-role-" in stack["cloudFormationExecutionRoleArn"]
    assert parse_environment("dev", {}).boundary_name is None


def test_the_deploy_role_assumes_roles_of_its_own_bootstrap_only(bounded: Path) -> None:
    (policy,) = [p for p in Environment(bounded, "dev").role_policies() if p.owner == "DeployRole"]
    for qualifier, is_own in (("own", True), ("hnb659fds", False), ("prod", False)):
        role = f"arn:aws:iam::{ACCOUNT}:role/cdk-{qualifier}-deploy-role-{ACCOUNT}-{REGION}"
        assert allows(policy.statements, Permission("sts:AssumeRole", role)) is is_own
