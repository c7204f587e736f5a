"""The command `doctor`: checks whether this machine and this account are ready for an environment."""

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from data_prep import aws, target
from data_prep.artifact import baseline_problem, current_artifact
from data_prep.aws_errors import explain
from data_prep.errors import TargetError
from data_prep.options import EnvironmentName
from data_prep.target import make_command
from data_prep.upload import listing
from ops import quotas
from ops.aws import described_endpoint
from ops.check import Check
from ops.outputs import stack_outputs
from ops.paused import describe_pause, paused_since
from ops.region import resource_types
from ops.templates import deployed
from stacks.config import PROJECT_ROOT, EnvironmentConfig, load_environment
from stacks.shared.model_code import code_files, code_prefix

# The version of `cdk bootstrap` that CDK's templates require
MIN_BOOTSTRAP_VERSION = 6


def examine(config: EnvironmentConfig) -> list[Check]:
    """All checks, without those of the account if it cannot be reached."""
    checks = [*tools()]
    account_checks = [*account()]
    checks += account_checks
    if not any(check.status == "failed" for check in account_checks):
        groups: dict[str, Callable[[EnvironmentConfig], Iterator[Check]]] = {
            "bootstrap": bootstrap,
            "resource types": resource_types,
            "endpoint kind": endpoint_kind,
            "instance type": instance_type,
            "quotas": quotas.instances,
            "Lambda concurrency": quotas.concurrency,
            "model code": model_code,
            "model artifact": model,
            "baseline": baseline,
            "endpoint": endpoint,
            "alert subscription": subscription,
        }
        for name, group in groups.items():
            try:
                checks += group(config)
            except (BotoCoreError, ClientError) as error:
                found = explain(error)
                checks.append(Check(name, "warning", f"cannot be read: {found.problem}", found.fix))
    return checks


def tools() -> Iterator[Check]:
    """Python, its packages, Node and the CDK command line, compared with the project's pins."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", "ok", version)  # an older version cannot parse this file
    wrong = [
        f"{name} {found or 'missing'} instead of {pinned}"
        for name, pinned in re.findall(r"^([\w.-]+)==(\S+)", _read("requirements.txt"), flags=re.MULTILINE)
        if (found := _installed(name)) != pinned
    ]
    if wrong:
        yield Check("packages", "failed", ", ".join(wrong), "make setup")
    else:
        yield Check("packages", "ok", "as requirements.txt pins them")
    pinned_cdk = json.loads(_read("package.json"))["devDependencies"]["aws-cdk"]
    for name, found, pinned in (("Node", _node(), None), ("CDK", _cdk(), pinned_cdk)):
        if found and pinned in {None, found}:
            yield Check(name, "ok", found)
        else:
            yield Check(name, "failed", found or "missing", "make setup")


def _read(name: str) -> str:
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _node() -> str:
    """The version that Node prints; empty if it does not run."""
    node = Path(sys.executable).parent / "node"
    try:
        result = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()


def _cdk() -> str:
    """The version that is installed, by its package: cdk itself takes a second to say it. Empty if it is missing."""
    try:
        return str(json.loads(_read("node_modules/aws-cdk/package.json"))["version"])
    except FileNotFoundError:
        return ""


def account() -> Iterator[Check]:
    """Region, credentials and endpoint."""
    try:
        name = target.region()
    except TargetError as error:
        yield Check("region", "failed", str(error))
        return
    except BotoCoreError as error:
        yield _failed("region", error)
        return
    session = boto3.Session()
    partitions = session.get_available_partitions()
    if any(name in session.get_available_regions("sagemaker", partition) for partition in partitions):
        yield Check("region", "ok", name)
    else:
        yield Check("region", "failed", f"{name} has no SageMaker", "set AWS_REGION to one that has")
    try:
        identity = aws.sts().get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        yield _failed("credentials", error)
    else:
        yield Check("credentials", "ok", f"{identity['Arn']} in account {identity['Account']}")
        yield Check("endpoint", "ok", target.current_target().endpoint)


def _failed(name: str, error: BotoCoreError | ClientError) -> Check:
    found = explain(error)
    return Check(name, "failed", found.problem, found.fix)


def bootstrap(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether CDK can publish into this account and region."""
    where = target.current_target()
    fix = f"`cdk bootstrap aws://{where.account}/{where.region}`, once for each account and region"
    if config.bootstrap_qualifier:
        fix = f"The commands of CONTRIBUTING.md that bootstrap {config.name} in {where}"
    try:
        version = int(aws.ssm().get_parameter(Name=f"/cdk-bootstrap/{config.qualifier}/version")["Parameter"]["Value"])
    except aws.ssm().exceptions.ParameterNotFound:
        yield Check("bootstrap", "failed", f"CDK has not been bootstrapped in {where}", fix)
        return
    if version < MIN_BOOTSTRAP_VERSION:
        yield Check("bootstrap", "failed", f"version {version}, {MIN_BOOTSTRAP_VERSION} is needed", fix)
    else:
        yield Check("bootstrap", "ok", f"version {version}")


def endpoint_kind(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether the existing endpoint can be updated to the configured one.

    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-update.html
    """
    if config.endpoint.kind != "serverless":
        return
    endpoint = described_endpoint(config)
    if endpoint and "CurrentServerlessConfig" not in endpoint["ProductionVariants"][0]:
        yield Check(
            "endpoint kind",
            "failed",
            f"{config.endpoint_name} runs on instances, and SageMaker updates no such endpoint to a serverless one",
            f"change it in a pause, in which uploads wait: `python -m ops pause --env {config.name}`, "
            f"`{make_command('deploy', config.name)}`, `python -m ops resume --env {config.name}`",
        )


def instance_type(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether the existing endpoint can be updated to the configured instances: not to others while it scales.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
    """
    wanted = config.endpoint.instance_type
    if config.endpoint.kind == "serverless" or described_endpoint(config) is None:
        return
    for template in deployed({"Model": f"{config.stage_name}-Model"}).values():
        resources = {resource["Type"]: resource for resource in template["Resources"].values()}
        endpoint_config = resources["AWS::SageMaker::EndpointConfig"]["Properties"]
        found = endpoint_config["ProductionVariants"][0].get("InstanceType")
        if "AWS::ApplicationAutoScaling::ScalableTarget" in resources and found != wanted:
            yield Check(
                "instance type",
                "failed",
                f"{config.endpoint_name} scales and runs on {found}; SageMaker updates no such endpoint to {wanted}",
                f"`{make_command('deploy', config.name)}` three times: without endpoint.max_instance_count and on "
                f"{found}, then on {wanted}, then with endpoint.max_instance_count",
            )


def model_code(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether retraining finds its training code, if the algorithm needs any."""
    if not config.algorithm.takes_code:
        return
    bucket = stack_outputs(config).get("Data", {}).get("BucketName")
    if bucket is None:
        return  # a deployment brings both
    name, where = "model code", f"s3://{bucket}/{code_prefix()}"
    if missing := sorted({f"{code_prefix()}{file}" for file in code_files()} - listing(bucket, code_prefix()).keys()):
        yield Check(
            name,
            "warning",
            f"{where} lacks {len(missing)} files of model_src/: retraining would fail",
            f"`python -m data_prep run --env {config.name}`; `{make_command('deploy', config.name)}` does it too",
        )
    else:
        yield Check(name, "ok", where)


def model(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether there is a model to serve, and what it was trained on."""
    name = "model artifact"
    found = current_artifact(config)
    train = f"`python -m data_prep run --env {config.name}`; `{make_command('deploy', config.name)}` does it too"
    if found is None:
        yield Check(name, "warning", f"{config.artifact_parameter} is not set: no model yet", train)
    elif found.mismatch:
        yield Check(name, "warning", f"{found.uri}: {found.mismatch}", train)
    elif found.algorithm != found.trained_by:
        yield Check(
            name,
            "warning",
            f"{found.uri} is of {found.trained_by or 'an unknown algorithm'}, but {config.model_algorithm_parameter}, "
            f"which decides by what it is served, is {found.algorithm or 'not set'}",
            train,
        )
    elif found.is_synthetic:
        yield Check(
            name,
            "warning",
            f"{found.uri} of {found.job} was trained on synthetic images, which no real picture resembles",
            f"`{make_command('deploy', config.name)} ARCHIVE=PATH` with CIFAR-100's archive",
        )
    else:
        yield Check(name, "ok", f"{found.uri} of {found.job}")


def baseline(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether the drift monitor has a baseline, and whether it belongs to the model in service."""
    found = current_artifact(config)
    if found is None or found.mismatch:
        return  # the model has to be fixed first
    problem = baseline_problem(config, found)
    if problem:
        yield Check("baseline", "warning", problem, f"`python -m data_prep baseline --env {config.name}`")
    else:
        yield Check("baseline", "ok", f"of {found.job}")


def endpoint(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether a paused endpoint was deleted. After an interrupted pause it may still exist, and cost money."""
    bucket = stack_outputs(config).get("Data", {}).get("BucketName")
    since = paused_since(bucket) if bucket else None
    if since is None:
        return
    is_paused = f"{config.endpoint_name} is {describe_pause(since)}"
    found = f"{is_paused}: uploads wait"
    fix = f"`python -m ops resume --env {config.name}`"
    if config.endpoint.hours:
        fix += f"; its hours do it, too: {config.endpoint.hours}"
    if there := described_endpoint(config):
        found = f"{is_paused}, but {there['EndpointStatus']}: the pause goes on or was interrupted"
        fix = f"`python -m ops pause --env {config.name}` ends the pause that began, or {fix}"
    yield Check("endpoint", "warning", found, fix)


def subscription(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether the alert topic has a confirmed subscription."""
    name = "alert subscription"
    topic = stack_outputs(config).get("Data", {}).get("AlertTopicArn")
    if topic is None:
        yield Check(name, "warning", f"{config.name}/Data is not deployed yet", make_command("deploy", config.name))
        return
    pages = aws.sns().get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    arns = {entry["Endpoint"]: entry["SubscriptionArn"] for page in pages for entry in page["Subscriptions"]}
    confirmed = [endpoint for endpoint, arn in arns.items() if arn.startswith("arn:")]
    if config.alert_email and config.alert_email not in confirmed:
        waiting = config.alert_email in arns
        yield Check(
            name,
            "warning",
            f"{config.alert_email} {'has not confirmed' if waiting else 'is not subscribed'}",
            "follow the link in the message from AWS Notifications" if waiting else make_command("deploy", config.name),
        )
    elif not confirmed:
        yield Check(name, "warning", "the alert topic has no confirmed subscription", "set alert_email in cdk.json")
    else:
        yield Check(name, "ok", ", ".join(confirmed))


def show(checks: list[Check]) -> None:
    """Print a line for each check, and the fix below."""
    console = Console(highlight=False, soft_wrap=True)
    marks = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[red]✗[/]"}
    for check in checks:
        console.print(f"{marks[check.status]} {escape(f'{check.name}: {check.found}')}")
        if check.fix:
            console.print(f"  [dim]to fix:[/] {escape(check.fix)}")


def doctor(
    env: EnvironmentName = "dev",
    as_json: Annotated[bool, typer.Option("--json", help="The checks as JSON on standard output.")] = False,
) -> None:
    """Check tools, credentials, quotas, model and alerts, with a fix for each problem.

    Exit status: 0 the environment can be deployed, 1 something has to be fixed first.
    """
    checks = examine(load_environment(env))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        show(checks)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)
