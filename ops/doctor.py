"""Whether this machine and this account are fit for an environment, and how to mend what is not."""

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from data_prep import aws, target
from data_prep.aws_errors import explain
from data_prep.errors import TargetError
from ops.artifact import current_artifact
from ops.cdk import EXECUTABLE
from ops.outputs import stack_outputs
from stacks.config import PROJECT_ROOT, EnvironmentConfig, load_environment

# What CDK's current templates ask of `cdk bootstrap`
MIN_BOOTSTRAP_VERSION = 6
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `failed` stops a deployment; `warning` does not."""

    name: str
    status: Literal["ok", "warning", "failed"]
    found: str
    mend: str = ""


def examine(config: EnvironmentConfig) -> list[Check]:
    """All checks. What needs the account is left out when it cannot be reached."""
    checks = [*tools()]
    account_checks = [*account()]
    checks += account_checks
    if not any(check.status == "failed" for check in account_checks):
        for group in (bootstrap, quotas, artifact, subscription):
            try:
                checks += group(config)
            except (BotoCoreError, ClientError) as error:
                checks.append(
                    Check(
                        group.__name__, "warning", f"cannot be read: {error}", "ask for the right to read it, or go on"
                    )
                )
    return checks


def tools() -> Iterator[Check]:
    """Python, its packages, Node and the CDK command line, against what the project pins."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", "ok", version)  # an older one cannot even read this file
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
    node = Path(sys.executable).parent / "node"
    for name, command, pinned in (("Node", [str(node)], ""), ("CDK", [str(node), str(EXECUTABLE)], pinned_cdk)):
        found = _version(command)
        if found.startswith(pinned) and found:
            yield Check(name, "ok", found)
        else:
            yield Check(name, "failed", found or "does not run", "make setup")


def _read(name: str) -> str:
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version(command: list[str]) -> str:
    """The first line that the tool prints of itself; empty if it does not run."""
    try:
        result = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip().partition("\n")[0]


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


def bootstrap(_config: EnvironmentConfig) -> Iterator[Check]:
    """Whether CDK can publish into this account and region."""
    mend = "`cdk bootstrap`, once for each account and region"
    try:
        version = int(aws.ssm().get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"])
    except aws.ssm().exceptions.ParameterNotFound:
        yield Check("bootstrap", "failed", "CDK has not been bootstrapped here", mend)
        return
    if version < MIN_BOOTSTRAP_VERSION:
        yield Check("bootstrap", "failed", f"version {version}, {MIN_BOOTSTRAP_VERSION} is needed", mend)
    else:
        yield Check("bootstrap", "ok", f"version {version}")


def quotas(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether SageMaker lets the account have the configured instances. New accounts start with 0 of many."""
    needs = needed_instances(config)
    pages = aws.service_quotas().get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    values: dict[str, float] = {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}
    trained = current_artifact(config) is not None
    for name, (needed, needed_to_update) in needs.items():
        value = values.get(name, 0)
        found = f"{value:g} of the {needed} that {'is' if needed == 1 else 'are'} needed"
        mend = f'ask for "{name}" under Service Quotas, Amazon SageMaker, or set another instance_type in cdk.json'
        if value < needed:
            is_training = "training job" in name
            yield Check(name, "warning" if is_training and trained else "failed", found, mend)
        elif value < needed_to_update:
            yield Check(
                name, "warning", f"{value:g}; an update or retraining runs {needed_to_update} for a while", mend
            )
        else:
            yield Check(name, "ok", f"{value:g}")


def needed_instances(config: EnvironmentConfig) -> dict[str, tuple[int, int]]:
    """Instances by the name of their quota: to run, and while a new model takes over (old and new side by side)."""
    endpoint, training, bulk = config.endpoint, config.training, config.bulk
    count = max(endpoint.instance_count, endpoint.max_instance_count or 0)
    kind = "spot training job" if training.spot else "training job"
    # One computes the baseline; retraining lets the candidate and the served model answer at the same time
    transforms = (bulk.transform_instance_count, max(2, bulk.transform_instance_count))
    return {
        f"{endpoint.instance_type} for endpoint usage": (count, 2 * count),
        f"{bulk.transform_instance_type} for transform job usage": transforms,
        f"{training.instance_types[0]} for {kind} usage": (1, 1),
    }


def artifact(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether there is a model to serve."""
    found = current_artifact(config)
    train = f"`python -m data_prep run --env {config.name}`; `make deploy ENV={config.name}` does it too"
    if found is None:
        yield Check("model artifact", "warning", f"{config.artifact_parameter} is not set: no model yet", train)
    elif found.flaw:
        yield Check("model artifact", "warning", f"{found.uri}: {found.flaw}", train)
    else:
        yield Check("model artifact", "ok", f"{found.uri} of {found.job}")


def subscription(config: EnvironmentConfig) -> Iterator[Check]:
    """Whether anybody hears of failures."""
    name = "alert subscription"
    topic = stack_outputs(config).get("Data", {}).get("AlertTopicArn")
    if topic is None:
        yield Check(name, "warning", f"{config.name}/Data is not deployed yet", f"make deploy ENV={config.name}")
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
            "follow the link in the message from AWS Notifications" if waiting else f"make deploy ENV={config.name}",
        )
    elif not confirmed:
        yield Check(name, "warning", "nobody is told of failures", "set alert_email in cdk.json")
    else:
        yield Check(name, "ok", ", ".join(confirmed))


def show(checks: list[Check]) -> None:
    """One line a check, and how to mend it below."""
    console = Console(highlight=False, soft_wrap=True)
    marks = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[red]✗[/]"}
    for check in checks:
        console.print(f"{marks[check.status]} {escape(f'{check.name}: {check.found}')}")
        if check.mend:
            console.print(f"  [dim]to mend:[/] {escape(check.mend)}")


def doctor(
    env: Annotated[str, typer.Option("--env", help="An environment of cdk.json.")] = "dev",
    as_json: Annotated[bool, typer.Option("--json", help="The checks as JSON on standard output.")] = False,
) -> None:
    """Check tools, credentials, quotas, model and alerts, and say how to mend each.

    Exit status: 0 the environment can be deployed, 1 something has to be mended first.
    """
    checks = examine(load_environment(env))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        show(checks)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)
