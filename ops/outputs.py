"""The outputs of a deployed environment's stacks."""

import json
import re
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from data_prep import aws
from data_prep.options import EnvironmentName
from data_prep.target import current_target, make_command
from data_prep.terminal import print_whole
from ops.errors import OpsError
from ops.paused import describe_pause, paused_since
from stacks.config import EnvironmentConfig, load_environment

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef


def deployed_stacks(config: EnvironmentConfig) -> dict[str, "StackTypeDef"]:
    """CloudFormation's descriptions of the environment's existing stacks, by stack name such as `Data`."""
    # What follows the environment's name starts with a capital: `scones-dev-2-Data` belongs to `dev-2`
    own = re.compile(rf"{re.escape(config.stage_name)}-([A-Z]\w*)")
    return {
        match[1]: stack
        for page in aws.cloudformation().get_paginator("describe_stacks").paginate()
        for stack in page["Stacks"]
        if (match := own.fullmatch(stack["StackName"])) and stack["StackStatus"] != "DELETE_COMPLETE"
    }


def stack_outputs(config: EnvironmentConfig) -> dict[str, dict[str, str]]:
    """Outputs of the environment's existing stacks, by stack name."""
    return {
        name: {
            output["OutputKey"]: output["OutputValue"]
            for output in stack.get("Outputs", [])
            if not output["OutputKey"].startswith("ExportsOutput")  # CDK's exports for other stacks
        }
        for name, stack in deployed_stacks(config).items()
    }


def show_outputs(config: EnvironmentConfig) -> None:
    """Print the outputs as a table, the endpoint's hours, and whether it is paused."""
    table = Table("stack", "output", "value", box=None, header_style="bold", pad_edge=False)
    found = stack_outputs(config)
    for stack, outputs in found.items():
        for key, value in sorted(outputs.items()):
            table.add_row(f"{config.name}/{stack}", key, value)
    print_whole(Console(highlight=False), table)
    if config.endpoint.hours:
        typer.echo(f"Hours of {config.endpoint_name}: {config.endpoint.hours}")
    bucket = found.get("Data", {}).get("BucketName")
    if bucket and (since := paused_since(bucket)):
        typer.echo(f"{config.endpoint_name} is {describe_pause(since)}: `python -m ops resume --env {config.name}`")


def outputs(
    env: EnvironmentName = "dev",
    as_json: Annotated[bool, typer.Option("--json", help="The outputs as JSON on standard output.")] = False,
) -> None:
    """Show the stack outputs of an environment: bucket, endpoint, state machine."""
    config = load_environment(env)
    target = current_target()
    found = stack_outputs(config)
    if not found:
        raise OpsError(
            f"environment {env!r} is not deployed in {target}: deploy it with `{make_command('deploy', env)}`, or set "
            "AWS_PROFILE and AWS_REGION to where it is"
        )
    typer.echo(f"Environment {env} in {target}", err=True)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show_outputs(config)
