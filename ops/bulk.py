"""Classify everything below a prefix: picks the way by size and price, says why, and starts it."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from ops import aws, counts, templates
from ops.cost import Assumptions, Deployment, Way, load_prices, ways
from ops.errors import OpsError
from ops.outputs import stack_outputs
from stacks.config import EnvironmentConfig, load_environment

# Outputs of the stacks by way, and what the workflow takes
_STATE_MACHINES = {
    "inline Map": ("Workflow", "StateMachineArn"),
    "Distributed Map": ("Bulk", "DistributedMapArn"),
    "Batch Transform": ("Bulk", "BatchTransformArn"),
}
NAMES = {"inline": "inline Map", "distributed-map": "Distributed Map", "batch-transform": "Batch Transform"}


@dataclass(frozen=True)
class Choice:
    """A way, and why it was taken."""

    way: str
    dollars: float
    reasons: tuple[str, ...]


def choose(choices: Sequence[Way], images: int, prices: Mapping[str, float], *, prefix: str) -> Choice:
    """The cheapest way that takes so many images. The endpoint is there anyway, so it costs nothing more."""
    reasons, costs = [], {}
    for way in choices:
        if way.name not in _STATE_MACHINES:
            continue
        limit = way.images_per_execution
        if limit and images > limit:
            reasons.append(f"{way.name}: takes at most {limit:,} images, there are {images:,}")
        elif way.name == "Batch Transform" and not prefix.endswith("/"):
            reasons.append(f"{way.name}: takes a prefix that ends with a slash, not {prefix!r}")
        else:
            costs[way.name] = way.run(images, prices)
            reasons.append(f"{way.name}: {costs[way.name]:.4f} USD")
    best = min(costs, key=lambda name: costs[name])
    return Choice(best, costs[best], tuple(reasons))


def bulk(
    prefix: Annotated[str, typer.Argument(help="Below incoming/, scheduled/ or test/; or a manifest below bulk/.")],
    env: Annotated[str, typer.Option(help="An environment of cdk.json.")] = "dev",
    way: Annotated[str, typer.Option(help=f"Take this way: {', '.join(NAMES)}.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be started, and why.")] = False,
) -> None:
    """Classify all images below a prefix, or of a list; show the price of each way first."""
    if way and way not in NAMES:
        raise OpsError(f"--way must be one of {', '.join(NAMES)}, not {way!r}")
    config = load_environment(env)
    is_list = prefix.startswith("bulk/")
    if is_list:
        takes_it = "batch-transform" if prefix.endswith(".manifest") else "distributed-map"
        if way not in {"", takes_it}:
            raise OpsError(f"{prefix} is a list of images that only --way {takes_it} takes, not {way}")
        name, execution_input = NAMES[takes_it], {"manifest_key": prefix}
        typer.echo(f"{name}: the only way that takes such a list of images, {prefix}")
    else:
        bucket = aws.bucket(config)
        images = _count(bucket, prefix)
        if not images:
            raise OpsError(f"there is no image below s3://{bucket}/{prefix}")
        choices, prices = ways(_deployment(config), config, counts.load(), Assumptions()), load_prices()["prices"]
        choice = choose(choices, images, prices, prefix=prefix)
        name = NAMES[way] if way else choice.way
        typer.echo(f"{images:,} images below s3://{bucket}/{prefix}")
        for reason in choice.reasons:
            typer.echo(f"  {reason}")
        typer.echo(f"{name}: {'as you asked' if way else f'the cheapest that takes them, {choice.dollars:.4f} USD'}")
        execution_input = {"s3_prefix": prefix}
        if name == "inline Map":
            execution_input["s3_bucket"] = bucket
    if dry_run:
        return
    arn = aws.output(config, *_STATE_MACHINES[name])
    started = aws.stepfunctions().start_execution(stateMachineArn=arn, input=json.dumps(execution_input))
    typer.echo(started["executionArn"])


def _deployment(config: EnvironmentConfig) -> Deployment:
    """What the deployed templates say about cost; raises OpsError if a workflow is not deployed."""
    for state_machine in _STATE_MACHINES.values():
        aws.output(config, *state_machine)
    return Deployment.of(templates.deployed({stack: f"{config.stage_name}-{stack}" for stack in stack_outputs(config)}))


def _count(bucket: str, prefix: str) -> int:
    """Objects below the prefix that are no folders; says how far it is where somebody watches."""
    total = 0
    for page in aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        total += sum(not entry["Key"].endswith("/") for entry in page.get("Contents", []))
        if sys.stderr.isatty() and total >= 100_000:
            typer.echo(f"\r{total:,} images so far", err=True, nl=False)
    return total
