"""The command `destroy`: removes everything in an environment that costs money, and lists what is retained."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from botocore.exceptions import ClientError, WaiterError
from rich.console import Console

from data_prep import aws
from data_prep.options import EnvironmentName
from data_prep.target import current_target, make_command
from ops import templates
from ops.cdk import App, assembly, change_stacks
from ops.errors import OpsError
from ops.outputs import deployed_stacks, stack_outputs
from stacks.config import EnvironmentConfig, load_environment

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef


POLL_SECONDS = 5.0
# Statuses of deleted or never created resources
_GONE = {"CREATE_FAILED", "DELETE_COMPLETE"}


@dataclass(frozen=True)
class Retained:
    """A retained resource of the environment, and how to remove it."""

    what: str
    removal: str


# How to remove what CloudFormation leaves behind, by type
_REMOVALS = {
    "AWS::KMS::Key": "aws kms schedule-key-deletion --key-id {id}",
    "AWS::Logs::LogGroup": "aws logs delete-log-group --log-group-name {id}",
    "AWS::S3::Bucket": "aws s3 rb s3://{id}",
    "AWS::SNS::Topic": "aws sns delete-topic --topic-arn {id}",
    "AWS::SQS::Queue": "aws sqs delete-queue --queue-url {id}",
}


def destroy(
    env: EnvironmentName = "dev",
    data: Annotated[
        bool | None,
        typer.Option(
            "--data/--keep-data",
            help="Also remove the bucket with everything in it; default is the environment's removal_policy.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    app: App = None,
) -> None:
    """Remove everything in an environment that costs money by the hour, and list what is retained."""
    config = load_environment(env)
    target = current_target()
    typer.echo(f"Destroying environment {env} in {target}")
    with_data = config.removal_policy == "destroy" if data is None else data
    deployed = stack_outputs(config)
    if not deployed and not _releases(config) and not (with_data and _parameters(config)):
        raise OpsError(f"environment {env!r} has no stack in {target}: nothing to destroy")
    bucket = deployed.get("Data", {}).get("BucketName", "")
    what = f"environment {env}" + (f" and everything in s3://{bucket}" if with_data and bucket else "")
    question = f"This removes {what} from {target}. Type the environment's name to go on"
    if not yes and typer.prompt(question) != env:
        raise OpsError("nothing was destroyed")
    _wait_for_rest(config)
    retained = _retained(config, deployed, with_data=with_data)
    synthesized = assembly(env, app)
    known = templates.read_assembly(synthesized).templates
    for stack in deployed:
        if f"{env}/{stack}" not in known:
            _delete_stack(f"{config.stage_name}-{stack}")
    compute = [stack for stack in deployed if stack != "Data" and f"{env}/{stack}" in known]
    if "Retraining" in deployed:
        _delete_model_packages(config)
    if compute:
        _destroy_stacks(config, compute, synthesized)
    _delete_releases(config)
    if with_data:
        if "Data" in deployed:
            buckets = _buckets(config)
            for name in buckets:
                empty_bucket(name)
            _destroy_stacks(config, ["Data"], synthesized)
            retained = [entry for entry in retained if not _removed_bucket(buckets, entry)]
        _delete_parameters(config)
    retained = [*retained, *_retained_by_design(config, bucket, with_data=with_data)]
    console = Console(highlight=False, soft_wrap=True)
    console.print("\nRetained:")
    for entry in retained:
        console.print(f"  {entry.what}\n    [dim]to remove:[/] {entry.removal}", markup=True)


def _wait_for_rest(config: EnvironmentConfig) -> None:
    """Wait for what an interrupted command left in progress: CloudFormation cannot delete a stack that it updates."""
    shown = ""
    while moving := [
        f"{stack['StackName']} ({stack['StackStatus']})"
        for stack in deployed_stacks(config).values()
        # The stack of a change set that was never executed stays in review
        if stack["StackStatus"].endswith("_IN_PROGRESS") and stack["StackStatus"] != "REVIEW_IN_PROGRESS"
    ]:
        line = f"Waiting for {', '.join(moving)}"
        if line != shown:
            typer.echo(line)
            shown = line
        time.sleep(POLL_SECONDS)


def _destroy_stacks(config: EnvironmentConfig, stacks: list[str], app: Path) -> None:
    """Delete stacks, dependent ones first. One that cannot be deleted does not keep the others, which cost money.

    Raises OpsError if any is left. cdk passes over those that are no longer in the app.
    """
    arguments = (f"--app={app}", "--exclusively", "--force")
    try:
        change_stacks("destroy", *(f"{config.name}/{stack}" for stack in stacks), *arguments, target=current_target())
        return
    except OpsError as error:
        typer.echo(f"{error}; going on with the others", err=True)
    left = {name: stack for name, stack in deployed_stacks(config).items() if name in stacks}
    failed = []
    # A stack is created after those that it depends on
    for name in sorted(left, key=lambda name: left[name]["CreationTime"], reverse=True):
        try:
            change_stacks("destroy", f"{config.name}/{name}", *arguments, target=current_target())
        except OpsError:
            failed.append(name)
    if failed:
        raise OpsError(
            f"could not destroy {', '.join(f'{config.name}/{name}' for name in failed)}: the events above say why. "
            f"Remove the cause and repeat `{make_command('destroy', config.name)}`, which goes on from there"
        )


def _retained(config: EnvironmentConfig, deployed: dict[str, Any], *, with_data: bool) -> list[Retained]:
    """What CloudFormation will leave behind, by the deployed templates' own deletion policies."""
    names = {stack: f"{config.stage_name}-{stack}" for stack in deployed if with_data or stack != "Data"}
    retained = []
    for stack, template in templates.deployed(names).items():
        for summary in _resources(names[stack]):
            resource = template["Resources"].get(summary["LogicalResourceId"], {})
            if str(resource.get("DeletionPolicy", "")).startswith("Retain"):
                physical_id = summary["PhysicalResourceId"]
                removal = _REMOVALS.get(summary["ResourceType"], "in the console").format(id=physical_id)
                retained.append(Retained(f"{summary['ResourceType']} {physical_id}", removal))
    return retained


def _resources(stack_name: str) -> list[Any]:
    """The resources that a stack has: not those that it failed to create or has deleted already."""
    pages = aws.cloudformation().get_paginator("list_stack_resources").paginate(StackName=stack_name)
    return [
        summary
        for page in pages
        for summary in page["StackResourceSummaries"]
        if summary["ResourceStatus"] not in _GONE and summary.get("PhysicalResourceId")
    ]


def _delete_stack(name: str) -> None:
    """Of the app as it was configured once: it would keep the other stacks, whose exports it imports."""
    typer.echo(f"Deleting stack {name}, which cdk.json does not ask for any more")
    aws.cloudformation().delete_stack(StackName=name)
    try:
        aws.cloudformation().get_waiter("stack_delete_complete").wait(StackName=name)
    except WaiterError as error:
        raise OpsError(
            f"stack {name} could not be deleted: {error}. Its events say why: remove the cause, and repeat this command"
        ) from None


def _buckets(config: EnvironmentConfig) -> list[str]:
    """The buckets of the Data stack: that of the data, and that of its access logs where it has one."""
    resources = _resources(f"{config.stage_name}-Data")
    return [entry["PhysicalResourceId"] for entry in resources if entry["ResourceType"] == "AWS::S3::Bucket"]


def _removed_bucket(buckets: list[str], retained: Retained) -> bool:
    """Delete an empty bucket if its stack no longer contains it."""
    kind, _, name = retained.what.partition(" ")
    if kind != "AWS::S3::Bucket" or name not in buckets:
        return False
    aws.s3().delete_bucket(Bucket=name)
    return True


def empty_bucket(bucket: str) -> None:
    """Delete every version of every object, including those written meanwhile."""
    while True:
        page = aws.s3().list_object_versions(Bucket=bucket)
        entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not entries:
            return
        objects: list[ObjectIdentifierTypeDef] = [
            {"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries
        ]
        response = aws.s3().delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        if errors := response.get("Errors"):
            first = errors[0]
            raise OpsError(
                f"s3://{bucket}/{first.get('Key')} cannot be deleted: {first.get('Code')} {first.get('Message')}"
            )


def _delete_model_packages(config: EnvironmentConfig) -> None:
    """SageMaker deletes a group of model packages, as its stack will ask, only when it is empty."""
    sagemaker, group = aws.sagemaker(), config.model_package_group
    pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    try:
        # All of the list before the first deletion, which could move the pages
        packages = [package["ModelPackageArn"] for page in pages for package in page["ModelPackageSummaryList"]]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":  # how SageMaker says that there is no such group
            raise
        return
    for arn in packages:
        sagemaker.delete_model_package(ModelPackageName=arn)


def _delete_releases(config: EnvironmentConfig) -> None:
    """Delete the models and endpoint configs that retraining created outside of any stack. Their artifacts stay."""
    for kind, name in _releases(config):
        if kind == "endpoint config":
            aws.sagemaker().delete_endpoint_config(EndpointConfigName=name)
        else:
            aws.sagemaker().delete_model(ModelName=name)


def _releases(config: EnvironmentConfig) -> list[tuple[str, str]]:
    """Kind and name of what retraining made, the endpoint configs before the models that they name."""
    sagemaker, named = aws.sagemaker(), config.stage_name
    configs = sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=named)
    models = sagemaker.get_paginator("list_models").paginate(NameContains=named)
    found = [
        *(
            ("endpoint config", each["EndpointConfigName"], each["EndpointConfigArn"])
            for page in configs
            for each in page["EndpointConfigs"]
        ),
        *(("model", each["ModelName"], each["ModelArn"]) for page in models for each in page["Models"]),
    ]
    return [(kind, name) for kind, name, arn in found if _is_of(config, arn)]


def _is_of(config: EnvironmentConfig, arn: str) -> bool:
    """By its tags: `scones-dev-2-...` may be of `dev` or of `dev-2`."""
    tags = {tag["Key"]: tag["Value"] for tag in aws.sagemaker().list_tags(ResourceArn=arn)["Tags"]}
    return (tags.get("application"), tags.get("environment")) == ("scones-unlimited", config.name)


def _delete_parameters(config: EnvironmentConfig) -> None:
    """The SSM parameters that training set name artifacts that are gone."""
    for name in _parameters(config):
        aws.ssm().delete_parameter(Name=name)


def _parameters(config: EnvironmentConfig) -> list[str]:
    pages = aws.ssm().get_paginator("get_parameters_by_path").paginate(Path=f"/scones/{config.name}/", Recursive=True)
    return [parameter["Name"] for page in pages for parameter in page["Parameters"]]


def _retained_by_design(config: EnvironmentConfig, bucket: str, *, with_data: bool) -> list[Retained]:
    retained = []
    if not with_data and bucket:
        size = sum(
            entry["Size"]
            for page in aws.s3().get_paginator("list_object_versions").paginate(Bucket=bucket)
            for entry in page.get("Versions", [])
        )
        removal = f"python -m ops destroy --env {config.name} --data"
        what = f"{config.name}/Data with s3://{bucket} ({size / 1e6:,.1f} MB, billed by size)"
        retained.append(Retained(what, removal))
        retained.extend(Retained(f"SSM parameter {name} (free)", removal) for name in _parameters(config))
    pages = aws.logs().get_paginator("describe_log_groups")
    for prefix in (f"/aws/sagemaker/Endpoints/{config.endpoint_name}", "/aws/sagemaker/TrainingJobs"):
        for page in pages.paginate(logGroupNamePrefix=prefix):
            retained.extend(
                Retained(
                    f"log group {group['logGroupName']}, written by SageMaker",
                    f"aws logs delete-log-group --log-group-name {group['logGroupName']}",
                )
                for group in page["logGroups"]
                if group["logGroupName"] == prefix
            )
    retained.append(Retained("SageMaker's list of training jobs (free)", "AWS keeps it"))
    retained.append(
        Retained(
            "stack CDKToolkit, which every CDK application here shares",
            "aws cloudformation delete-stack --stack-name CDKToolkit",
        )
    )
    return retained
