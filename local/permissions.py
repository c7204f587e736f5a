"""The permissions that AWS checks for a request besides the request's own action: one table, each row with its source.

The local cloud uses it to refuse a call if the caller or the execution role is missing a permission
(local/authorization.py), and tests/infrastructure to evaluate the policies of the templates.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

CALLER = "caller"
EXECUTION_ROLE = "execution role"  # that SageMaker or the Scheduler assumes for the request

_GUIDE = "https://docs.aws.amazon.com/sagemaker/latest/dg"
_API_PERMISSIONS = f"{_GUIDE}/api-permissions-reference.html"
_ACTIONS = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html"


@dataclass(frozen=True)
class Permission:
    """An action on a resource that IAM must allow to the principal, or to one of several principals."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()  # condition keys of the request, with their values
    # The caller, its execution role, or a service, which only the resource's policy can allow
    principals: tuple[str, ...] = (CALLER,)


@dataclass(frozen=True)
class Call:
    """A request, with the resources that the service looks up for it."""

    operation: str  # of an API, or of Step Functions, such as `createTrainingJob.sync`
    request: Mapping[str, Any]
    region: str
    account: str
    endpoint_config: Mapping[str, Any] = field(default_factory=dict)  # the new configuration of an endpoint
    ssm_parameters: tuple[str, ...] = ()  # that a stack's template reads

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True)
class Row:
    """The permissions that these operations need, with AWS's documentation."""

    operations: tuple[str, ...]
    source: str
    permissions: Callable[[Call], Iterable[Permission]]


def own_action(call: Call) -> Permission:
    """The action of a call to SageMaker's API, on the resource of the call."""
    noun = re.sub(r"^(Create|Delete|Describe|Invoke|Stop|Update)", "", call.operation)
    noun = noun.removesuffix("WeightsAndCapacities")
    if call.operation == "CreateModelPackage":  # a version in its group, which SageMaker numbers
        package = f"{call.request['ModelPackageGroupName']}/1"
        return Permission(f"sagemaker:{call.operation}", call.arn("sagemaker", f"model-package/{package}"))
    named = [call.request[key] for key in (f"{noun}Name", f"{noun}Arn", "ResourceArn") if key in call.request]
    resource = str(named[0]) if named else "*"
    if not resource.startswith(("arn:", "*")):
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", noun).lower()
        resource = call.arn("sagemaker", f"{kind}/{resource}")
    isolated = str(call.request.get("EnableNetworkIsolation", False)).lower()
    context = (("sagemaker:NetworkIsolation", isolated),) if call.operation in _ISOLATED else ()
    return Permission(f"sagemaker:{call.operation}", resource, context)


def needed(call: Call) -> list[Permission]:
    """The permissions in the table for a call."""
    return [permission for row in TABLE if call.operation in row.operations for permission in row.permissions(call)]


def _pass_role(call: Call) -> Iterator[Permission]:
    role = call.request.get("RoleArn") or call.request.get("ExecutionRoleArn")
    if role:
        yield Permission("iam:PassRole", role, (("iam:PassedToService", "sagemaker.amazonaws.com"),))


def _tag(call: Call) -> Iterator[Permission]:
    if call.request.get("Tags"):
        yield Permission("sagemaker:AddTags", own_action(call).resource)


def _serve_endpoint_config(call: Call) -> Iterator[Permission]:
    name = call.request["EndpointConfigName"]
    yield Permission(f"sagemaker:{call.operation}", call.arn("sagemaker", f"endpoint-config/{name}"))


def _describe_alarms(call: Call) -> Iterator[Permission]:
    alarms = call.request.get("DeploymentConfig", {}).get("AutoRollbackConfiguration", {}).get("Alarms", [])
    for alarm in alarms:
        for principal in (CALLER, EXECUTION_ROLE):
            resource = call.arn("cloudwatch", f"alarm:{alarm['AlarmName']}")
            yield Permission("cloudwatch:DescribeAlarms", resource, principals=(principal,))


def _encrypt_volumes_of_endpoint(call: Call) -> Iterator[Permission]:
    if key := call.endpoint_config.get("KmsKeyId"):
        yield Permission("kms:CreateGrant", key, _FOR_AWS)


def _encrypt_volumes_of_job(call: Call) -> Iterator[Permission]:
    resources = call.request.get("ResourceConfig") or call.request.get("TransformResources") or {}
    if key := resources.get("VolumeKmsKeyId"):
        yield Permission("kms:CreateGrant", key, _FOR_AWS, principals=(EXECUTION_ROLE, CALLER))


def _encrypt_artifact(call: Call) -> Iterator[Permission]:
    if key := call.request["OutputDataConfig"].get("KmsKeyId"):
        yield Permission("kms:Encrypt", key, principals=(EXECUTION_ROLE,))


def _keep_checkpoints(call: Call) -> Iterator[Permission]:
    if checkpoints := call.request.get("CheckpointConfig"):
        bucket, _, folder = checkpoints["S3Uri"].removeprefix("s3://").partition("/")
        arn = f"arn:aws:s3:::{bucket}"
        yield Permission("s3:ListBucket", arn, (("s3:prefix", folder),), principals=(EXECUTION_ROLE,))
        for action in ("GetObject", "PutObject", "DeleteObject"):
            yield Permission(f"s3:{action}", f"{arn}/{folder}checkpoint", principals=(EXECUTION_ROLE,))


def _follow_job(call: Call) -> Iterator[Permission]:
    noun = call.operation.removeprefix("create").removesuffix(".sync")
    job = own_action(Call(f"Create{noun}", call.request, call.region, call.account)).resource
    for action in (f"Describe{noun}", f"Stop{noun}", "AddTags", "ListTags"):
        yield Permission(f"sagemaker:{action}", job)
    rule = call.arn("events", f"rule/StepFunctionsGetEventsForSageMaker{noun}sRule")
    for action in ("PutTargets", "PutRule", "DescribeRule"):
        yield Permission(f"events:{action}", rule)


def _deliver_inventory(call: Call) -> Iterator[Permission]:
    source = (("aws:SourceAccount", call.account), ("aws:SourceArn", f"arn:aws:s3:::{call.request['Bucket']}"))
    destination = call.request["InventoryConfiguration"]["Destination"]["S3BucketDestination"]
    report = (
        f"{destination['Bucket']}/{destination['Prefix']}/{call.request['Bucket']}/{call.request['Id']}/data/a.csv.gz"
    )
    yield Permission("s3:PutObject", report, source, principals=("s3.amazonaws.com",))
    if encryption := destination.get("Encryption", {}).get("SSEKMS"):
        yield Permission("kms:GenerateDataKey", encryption["KeyId"], source, principals=("s3.amazonaws.com",))


def _keep_undelivered_events(call: Call) -> Iterator[Permission]:
    rule = call.arn("events", f"rule/{call.request['Rule']}")
    for target in call.request["Targets"]:
        if queue := target.get("DeadLetterConfig", {}).get("Arn"):
            yield Permission("sqs:SendMessage", queue, (("aws:SourceArn", rule),), principals=("events.amazonaws.com",))


def _keep_undelivered_schedules(call: Call) -> Iterator[Permission]:
    if queue := call.request["Target"].get("DeadLetterConfig", {}).get("Arn"):
        yield Permission("sqs:SendMessage", queue, principals=(EXECUTION_ROLE,))


def _describe_or_update_stack(call: Call) -> Iterator[Permission]:
    stack = call.arn("cloudformation", f"stack/{call.request['StackName']}/0b7a5b3e-5f1c-4f63-8a44-7a8f7ac6ff5b")
    template = call.request.get("TemplateURL")
    context = (("cloudformation:TemplateUrl", template),) if template else ()
    yield Permission(f"cloudformation:{call.operation}", stack, context)


def _read_parameters_of_stack(call: Call) -> Iterator[Permission]:
    for name in call.ssm_parameters:
        yield Permission("ssm:GetParameters", call.arn("ssm", f"parameter/{name.removeprefix('/')}"))


def _of_state_machine(call: Call) -> Iterator[Permission]:
    yield Permission(f"states:{call.operation}", call.request["stateMachineArn"])


# Of the operations with the condition key sagemaker:NetworkIsolation, those that the project uses (see _ACTIONS)
_ISOLATED = ("CreateModel", "CreateTrainingJob")
_FOR_AWS = (("kms:GrantIsForAWSResource", "true"),)
_CREATIONS = (
    "CreateEndpoint",
    "CreateEndpointConfig",
    "CreateModel",
    "CreateModelPackage",
    "CreateModelPackageGroup",
    "CreateTrainingJob",
    "CreateTransformJob",
)
TABLE = (
    Row(("CreateModel", "CreateTrainingJob"), _API_PERMISSIONS, _pass_role),
    Row(_CREATIONS, f"{_GUIDE}/grant-tagging-permissions.html", _tag),
    Row(("CreateEndpoint", "UpdateEndpoint"), _ACTIONS, _serve_endpoint_config),
    # The source says "your IAM execution role": the model's or the updating one, so both are checked
    Row(("CreateEndpoint", "UpdateEndpoint"), f"{_GUIDE}/deployment-guardrails-configuration.html", _describe_alarms),
    # The source has a row for CreateEndpoint only; an update also starts instances with volumes
    Row(("CreateEndpoint", "UpdateEndpoint"), _API_PERMISSIONS, _encrypt_volumes_of_endpoint),
    Row(("CreateTrainingJob", "CreateTransformJob"), _API_PERMISSIONS, _encrypt_volumes_of_job),
    Row(("CreateTrainingJob",), f"{_GUIDE}/sagemaker-roles.html", _encrypt_artifact),
    Row(("CreateTrainingJob",), f"{_GUIDE}/model-checkpoints.html", _keep_checkpoints),
    Row(
        ("createTrainingJob.sync", "createTransformJob.sync"),
        # AddTags: Step Functions tags the job that it starts, https://github.com/aws/aws-cdk/pull/27264
        "https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html",
        _follow_job,
    ),
    Row(
        ("DescribeStacks", "UpdateStack"),
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudformation.html",
        _describe_or_update_stack,
    ),
    # The caller's permission, according to a comment in CDK's bootstrap template
    Row(
        ("UpdateStack",),
        "https://github.com/aws/aws-cdk-cli/blob/main/packages/aws-cdk/lib/api/bootstrap/bootstrap-template.yaml",
        _read_parameters_of_stack,
    ),
    Row(
        ("ListExecutions", "StartExecution"),
        "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html",
        _of_state_machine,
    ),
    Row(
        ("PutBucketInventoryConfiguration",),
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/configure-inventory.html",
        _deliver_inventory,
    ),
    Row(
        ("PutTargets",),
        "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html",
        _keep_undelivered_events,
    ),
    Row(
        ("CreateSchedule",),
        "https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html",
        _keep_undelivered_schedules,
    ),
)
