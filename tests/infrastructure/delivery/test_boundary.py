"""The boundary of an environment in a shared account: it allows what the environment needs, and nothing else.

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
from tests.infrastructure.conftest import text
from tests.infrastructure.role_needs import NEEDS
from tests.infrastructure.second_opinion import Question, Statements, decide
from tests.infrastructure.test_least_privilege import CONTEXT, Roles, allows

TEMPLATE = PROJECT_ROOT / "stacks/delivery/boundary.yaml"
OWN_TAGS = (("aws:ResourceTag/application", "scones-unlimited"), ("aws:ResourceTag/environment", "dev"))
NEW_TAGS = (("aws:RequestTag/application", "scones-unlimited"), ("aws:RequestTag/environment", "dev"))
BOUNDED = (("iam:PermissionsBoundary", f"arn:aws:iam::{ACCOUNT}:policy/scones-dev-boundary"),)
_ROLE = "iam::{account}:role/scones-dev-Data-x"
_TOPIC = "sns:{region}:{account}:scones-dev-Data-x"
_QUEUE = "sqs:{region}:{account}:scones-dev-Data-x"
# The alarms of target tracking under the names that it chooses, with the permissions of the caller that sets it up
_SCALING_ALARMS = {
    "cloudwatch:{region}:{account}:alarm:TargetTracking-endpoint/scones-dev/variant/AllTraffic-AlarmHigh-x": (
        "cloudwatch:PutMetricAlarm cloudwatch:DescribeAlarms cloudwatch:DeleteAlarms"
    )
}
_BOUNDED_ACTIONS = (
    "iam:CreateRole",
    "iam:PutRolePermissionsBoundary",
    "iam:PutRolePolicy",
    "iam:UpdateAssumeRolePolicy",
)
# Condition keys of other actions
_KEYS = {
    "iam:CreateServiceLinkedRole": (("iam:AWSServiceName", "sagemaker.application-autoscaling.amazonaws.com"),),
    **{
        f"iam:Detach{kind}Policy": (("iam:PolicyARN", f"arn:aws:iam::{ACCOUNT}:policy/scones-dev-Console-x"),)
        for kind in ("Group", "Role", "User")
    },
    "sagemaker:AddTags": (("sagemaker:TaggingAction", "CreateModel"),),
}
# What CloudFormation calls to create, read, update and delete a resource of each type, and on which ARN: the handlers'
# permissions in the type's schema, as `aws cloudformation describe-type` prints it, except those for properties that no
# template here has (a VPC, attached policies, the replication of a bucket...). The schemas of budgets and endpoint
# configs list none: theirs are from the Service Authorization Reference
HANDLERS: dict[str, dict[str, str]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": {
        "application-autoscaling:{region}:{account}:scalable-target/x": "application-autoscaling:RegisterScalableTarget"
        " application-autoscaling:DeregisterScalableTarget",
        "": "application-autoscaling:DescribeScalableTargets application-autoscaling:DescribeScheduledActions",
        "iam::{account}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
        "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint": "iam:CreateServiceLinkedRole",
        _ROLE: "iam:PassRole",
        **_SCALING_ALARMS,
        # https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html
        "sagemaker:{region}:{account}:endpoint/scones-dev": "sagemaker:DescribeEndpoint"
        " sagemaker:UpdateEndpointWeightsAndCapacities",
        "sagemaker:{region}:{account}:endpoint-config/x": "sagemaker:DescribeEndpointConfig",
    },
    "AWS::ApplicationAutoScaling::ScalingPolicy": {
        "application-autoscaling:{region}:{account}:scalable-target/x": "application-autoscaling:PutScalingPolicy"
        " application-autoscaling:DeleteScalingPolicy",
        "": "application-autoscaling:DescribeScalingPolicies",
        **_SCALING_ALARMS,
    },
    "AWS::Budgets::Budget": {
        "budgets::{account}:budget/scones-dev_{region}": "budgets:ModifyBudget budgets:ViewBudget budgets:TagResource",
    },
    "AWS::CloudWatch::Alarm": {
        "cloudwatch:{region}:{account}:alarm:scones-dev-x": "cloudwatch:PutMetricAlarm cloudwatch:DescribeAlarms"
        " cloudwatch:DeleteAlarms cloudwatch:TagResource cloudwatch:UntagResource cloudwatch:ListTagsForResource",
    },
    "AWS::CloudWatch::Dashboard": {
        "cloudwatch::{account}:dashboard/scones-dev_{region}": "cloudwatch:PutDashboard cloudwatch:GetDashboard"
        " cloudwatch:DeleteDashboards",
    },
    "AWS::Events::Rule": {
        "events:{region}:{account}:rule/scones-dev-Data-x": "events:PutRule events:DescribeRule events:DeleteRule"
        " events:PutTargets events:RemoveTargets events:ListTargetsByRule events:TagResource events:UntagResource"
        " events:ListTagsForResource",
        _ROLE: "iam:PassRole",
    },
    "AWS::IAM::ManagedPolicy": {
        "iam::{account}:policy/scones-dev-Console-x": "iam:CreatePolicy iam:GetPolicy iam:GetPolicyVersion"
        " iam:ListEntitiesForPolicy iam:ListPolicyVersions iam:CreatePolicyVersion iam:DeletePolicyVersion"
        " iam:DeletePolicy",
        "iam::{account}:group/reviewers": "iam:DetachGroupPolicy",
        "iam::{account}:role/reviewers": "iam:DetachRolePolicy",
        "iam::{account}:user/me": "iam:DetachUserPolicy",
    },
    "AWS::IAM::Policy": {_ROLE: "iam:PutRolePolicy iam:GetRolePolicy iam:DeleteRolePolicy"},
    "AWS::IAM::Role": {
        _ROLE: "iam:CreateRole iam:GetRole iam:UpdateRole iam:UpdateRoleDescription iam:UpdateAssumeRolePolicy"
        " iam:DeleteRole iam:PutRolePermissionsBoundary iam:PutRolePolicy iam:GetRolePolicy iam:DeleteRolePolicy"
        " iam:ListRolePolicies iam:ListAttachedRolePolicies iam:TagRole iam:UntagRole",
    },
    "AWS::KMS::Key": {
        "": "kms:CreateKey",
        "kms:{region}:{account}:key/x": "kms:DescribeKey kms:GetKeyPolicy kms:GetKeyRotationStatus"
        " kms:ListResourceTags kms:DisableKey kms:EnableKey kms:DisableKeyRotation kms:EnableKeyRotation"
        " kms:PutKeyPolicy kms:TagResource kms:UntagResource kms:UpdateKeyDescription kms:ScheduleKeyDeletion",
    },
    "AWS::Lambda::Function": {
        "lambda:{region}:{account}:function:scones-dev-Data-x": "lambda:CreateFunction lambda:GetFunction"
        " lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration lambda:DeleteFunction"
        " lambda:PutFunctionConcurrency lambda:DeleteFunctionConcurrency lambda:GetFunctionCodeSigningConfig"
        " lambda:GetFunctionRecursionConfig lambda:GetRuntimeManagementConfig lambda:TagResource lambda:UntagResource",
        "s3:::cdk-own-assets-x/a.zip": "s3:GetObject s3:GetObjectVersion",
        _ROLE: "iam:PassRole",
    },
    "AWS::Lambda::Permission": {
        "lambda:{region}:{account}:function:scones-dev-Data-x": "lambda:AddPermission lambda:GetPolicy"
        " lambda:RemovePermission",
    },
    "AWS::Logs::LogGroup": {
        "": "logs:DescribeLogGroups logs:DescribeIndexPolicies",
        **{
            f"logs:{{region}}:{{account}}:log-group:{name}": "logs:CreateLogGroup logs:PutRetentionPolicy"
            " logs:DeleteRetentionPolicy logs:TagResource logs:UntagResource logs:ListTagsForResource"
            " logs:AssociateKmsKey logs:DisassociateKmsKey logs:GetDataProtectionPolicy"
            " logs:DeleteLogGroup logs:DeleteDataProtectionPolicy"
            for name in ("scones-dev-Data-x", "/aws/vendedlogs/states/scones-dev-x")
        },
    },
    "AWS::Logs::MetricFilter": {
        "logs:{region}:{account}:log-group:/aws/vendedlogs/states/scones-dev-x": "logs:PutMetricFilter"
        " logs:DescribeMetricFilters logs:DeleteMetricFilter",
    },
    "AWS::S3::Bucket": {
        "s3:::scones-dev-data-x": "s3:CreateBucket s3:DeleteBucket s3:ListBucket s3:PutBucketTagging"
        " s3:GetBucketTagging s3:PutEncryptionConfiguration s3:GetEncryptionConfiguration s3:PutInventoryConfiguration"
        " s3:GetInventoryConfiguration s3:PutLifecycleConfiguration s3:GetLifecycleConfiguration"
        " s3:PutBucketNotification s3:GetBucketNotification s3:PutBucketPublicAccessBlock"
        " s3:GetBucketPublicAccessBlock s3:PutBucketLogging s3:GetBucketLogging s3:PutBucketVersioning"
        " s3:GetBucketVersioning s3:PutBucketOwnershipControls s3:GetBucketOwnershipControls",
    },
    "AWS::S3::BucketPolicy": {
        "s3:::scones-dev-data-x": "s3:PutBucketPolicy s3:GetBucketPolicy s3:DeleteBucketPolicy",
    },
    "AWS::SNS::Subscription": {
        _TOPIC: "sns:Subscribe sns:GetSubscriptionAttributes sns:SetSubscriptionAttributes sns:Unsubscribe",
    },
    "AWS::SNS::Topic": {
        _TOPIC: "sns:CreateTopic sns:GetTopicAttributes sns:SetTopicAttributes sns:DeleteTopic sns:TagResource"
        " sns:UntagResource sns:ListTagsForResource sns:ListSubscriptionsByTopic sns:GetDataProtectionPolicy",
    },
    "AWS::SNS::TopicPolicy": {_TOPIC: "sns:SetTopicAttributes"},
    "AWS::SQS::Queue": {
        _QUEUE: "sqs:CreateQueue sqs:GetQueueUrl sqs:GetQueueAttributes sqs:SetQueueAttributes sqs:DeleteQueue"
        " sqs:TagQueue sqs:UntagQueue sqs:ListQueueTags",
    },
    "AWS::SQS::QueuePolicy": {_QUEUE: "sqs:SetQueueAttributes"},
    "AWS::SageMaker::Endpoint": {
        "sagemaker:{region}:{account}:endpoint/scones-dev": "sagemaker:CreateEndpoint sagemaker:DescribeEndpoint"
        " sagemaker:UpdateEndpoint sagemaker:DeleteEndpoint sagemaker:AddTags sagemaker:DeleteTags sagemaker:ListTags",
        "sagemaker:{region}:{account}:endpoint-config/x": "sagemaker:CreateEndpoint sagemaker:UpdateEndpoint",
    },
    "AWS::SageMaker::ModelPackageGroup": {
        "sagemaker:{region}:{account}:model-package-group/scones-dev": "sagemaker:CreateModelPackageGroup"
        " sagemaker:DescribeModelPackageGroup sagemaker:DeleteModelPackageGroup sagemaker:GetModelPackageGroupPolicy"
        " sagemaker:PutModelPackageGroupPolicy sagemaker:DeleteModelPackageGroupPolicy sagemaker:AddTags"
        " sagemaker:DeleteTags sagemaker:ListTags",
    },
    # Resources whose generated names do not contain the stack's name
    **{
        f"AWS::SageMaker::{kind}": {
            f"sagemaker:{{region}}:{{account}}:{noun}/x": f"sagemaker:Create{kind} sagemaker:Describe{kind}"
            f" sagemaker:Delete{kind} sagemaker:AddTags sagemaker:ListTags",
            _ROLE: "iam:PassRole",
        }
        for kind, noun in (("EndpointConfig", "endpoint-config"), ("Model", "model"))
    },
    "AWS::Scheduler::Schedule": {
        "scheduler:{region}:{account}:schedule/default/scones-dev-Data-x": "scheduler:CreateSchedule"
        " scheduler:GetSchedule scheduler:UpdateSchedule scheduler:DeleteSchedule",
        _ROLE: "iam:PassRole",
    },
    "AWS::StepFunctions::StateMachine": {
        "states:{region}:{account}:stateMachine:scones-dev-x": "states:CreateStateMachine states:DescribeStateMachine"
        " states:UpdateStateMachine states:DeleteStateMachine states:TagResource states:UntagResource"
        " states:ListTagsForResource",
        _ROLE: "iam:PassRole",
    },
}
# Outside of the boundary, so refused whatever a role's own policies allow
REFUSED = """
    iam:CreateUser arn:aws:iam::{account}:user/scones-dev-x
    iam:CreatePolicyVersion arn:aws:iam::{account}:policy/scones-dev-boundary
    iam:CreatePolicyVersion arn:aws:iam::{account}:policy/scones-prod-Console-x
    iam:AttachRolePolicy arn:aws:iam::{account}:role/scones-dev-x
    iam:AttachUserPolicy arn:aws:iam::{account}:user/me
    iam:DetachUserPolicy arn:aws:iam::{account}:user/me iam:PolicyARN=arn:aws:iam::{account}:policy/scones-prod-Console-x
    iam:DetachRolePolicy arn:aws:iam::{account}:role/cdk-own-cfn-exec-role-x iam:PolicyARN=arn:aws:iam::{account}:policy/scones-dev-boundary
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
    sns:SetSubscriptionAttributes arn:aws:sns:us-east-1:{account}:scones-prod-Data-x
    sns:Unsubscribe arn:aws:sns:us-east-1:{account}:scones-prod-Data-x
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


def resources(assembly: Path) -> Iterator[dict[str, Any]]:
    for path in (assembly / "assembly-dev").glob("*.template.json"):
        yield from json.loads(path.read_text())["Resources"].values()


def needs(assembly: Path) -> Iterator[tuple[str, Permission]]:
    """What each role needs, on resources with the names that CloudFormation gives, or with the environment's tags."""
    roles = Roles(assembly, "dev")
    named = {arn.rpartition(":")[2].rpartition("/")[2] for arn in _arns(roles.environment)} - {"dev"}
    pattern = re.compile(rf"\b({'|'.join(sorted(named, key=len, reverse=True))})\b")
    for role in NEEDS:
        for request in roles.needs[role]:
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


def test_every_role_may_do_within_it_what_it_needs(variants: Path) -> None:
    outside = {(role, r.action, r.resource) for role, r in needs(variants) if not allows(boundary(), r)}
    assert not outside


def test_the_boundary_allows_the_deploy_role_what_its_policy_allows(variants: Path) -> None:
    (policy,) = [p for p in Environment(variants, "dev").role_policies() if p.owner == "DeployRole"]
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


def test_cloudformation_can_do_within_it_all_that_it_does_with_every_resource(variants: Path) -> None:
    types = {resource["Type"] for resource in resources(variants)}
    assert types == set(HANDLERS), "say in HANDLERS what CloudFormation calls for the new type"
    outside = [f"{r.action} {r.resource}" for r in handled() if not allows(boundary(), r)]
    assert not outside, "\n".join(outside)


def handled() -> Iterator[Permission]:
    """What CloudFormation asks for, of resources that it has tagged."""
    for arn, actions in {(arn, actions) for calls in HANDLERS.values() for arn, actions in calls.items()}:
        resource = f"arn:aws:{arn}".format(region=REGION, account=ACCOUNT) if arn else "*"
        for action in actions.split():
            context: tuple[tuple[str, str], ...] = OWN_TAGS
            if re.search(r":(AddTags|Create(Key|Model|EndpointConfig))$", action):
                context = NEW_TAGS
            if action in _BOUNDED_ACTIONS:
                context = (*context, *BOUNDED)
            yield Permission(action, resource, (*context, *_KEYS.get(action, ())))


def refused() -> list[Permission]:
    words = [line.format(account=ACCOUNT).split() for line in REFUSED.strip().splitlines()]
    return [
        Permission(action, resource, tuple((key, value) for key, _, value in (c.partition("=") for c in context)))
        for action, resource, *context in words
    ]


@pytest.mark.parametrize("request_", refused(), ids=lambda request: f"{request.action} {request.resource}")
def test_the_boundary_allows_nothing_else(request_: Permission) -> None:
    assert not allows(boundary(), request_)


def test_another_evaluator_decides_the_same(variants: Path) -> None:
    asked = [*(request for _, request in needs(variants)), *handled(), *refused()]
    keys = [p for p in Environment(variants, "dev").resource_policies() if p.owner.startswith("AWS::KMS::Key")]
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


def test_every_role_of_the_stacks_is_bounded(variants: Path) -> None:
    roles = [resource["Properties"] for resource in resources(variants) if resource["Type"] == "AWS::IAM::Role"]
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
    assert boundaries("serverless") == {""}


def test_it_fits_into_a_managed_policy() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 6,144 characters, without spaces"""
    assert len(re.sub(r"\s", "", json.dumps(boundary("a" * 16, "q" * 10)))) <= 6_144 - 40


def test_the_stacks_are_deployed_through_roles_of_their_own(variants: Path) -> None:
    manifest = json.loads((variants / "assembly-dev/manifest.json").read_text())
    stacks = [a["properties"] for a in manifest["artifacts"].values() if a["type"] == "aws:cloudformation:stack"]
    assert stacks
    for stack in stacks:
        assert ":role/cdk-own-deploy-role-" in stack["assumeRoleArn"]
        assert ":role/cdk-own-cfn-exec-role-" in stack["cloudFormationExecutionRoleArn"]
    assert parse_environment("dev", {}).boundary_name is None


def test_the_deploy_role_assumes_roles_of_its_own_bootstrap_only(variants: Path) -> None:
    (policy,) = [p for p in Environment(variants, "dev").role_policies() if p.owner == "DeployRole"]
    for qualifier, is_own in (("own", True), ("hnb659fds", False), ("prod", False)):
        role = f"arn:aws:iam::{ACCOUNT}:role/cdk-{qualifier}-deploy-role-{ACCOUNT}-{REGION}"
        assert allows(policy.statements, Permission("sts:AssumeRole", role)) is is_own
