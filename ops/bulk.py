"""Classify everything below a prefix: selects the method by size and price, prints why, and starts it."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from data_prep.options import EnvironmentName
from ops import aws, counts, templates
from ops.cost.deployment import Deployment
from ops.cost.methods import Assumptions, Method, methods
from ops.cost.quantities import amount
from ops.errors import OpsError
from ops.outputs import stack_outputs
from ops.paused import refuse_while_paused
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared.prices import price_list

# Stack and output that name the state machine of each method
_STATE_MACHINES = {
    "inline Map": ("Workflow", "StateMachineArn"),
    "Distributed Map": ("Bulk", "DistributedMapArn"),
    "Batch Transform": ("Bulk", "BatchTransformArn"),
}
NAMES = {"inline": "inline Map", "distributed-map": "Distributed Map", "batch-transform": "Batch Transform"}


@dataclass(frozen=True)
class Choice:
    """A selected method, and the reason."""

    method: str
    reasons: tuple[str, ...]


def choose(choices: Sequence[Method], images: int, prices: Mapping[str, float], *, prefix: str) -> Choice:
    """The cheapest method that can process this many images. The endpoint runs anyway, so it adds no cost."""
    reasons, costs = [], {}
    for method in choices:
        if method.name not in _STATE_MACHINES:
            continue
        limit = method.images_per_execution
        if limit and images > limit:
            reasons.append(f"{method.name}: takes at most {limit:,} images, there are {images:,}")
        elif method.name == "Batch Transform" and not prefix.endswith("/"):
            reasons.append(f"{method.name}: takes a prefix that ends with a slash, not {prefix!r}")
        else:
            costs[method.name] = method.run(images, prices)
            reasons.append(f"{method.name}: {amount(costs[method.name], 4)} USD")
    # A method whose price is unknown is never selected
    best = min(costs, key=lambda name: math.inf if math.isnan(costs[name]) else costs[name])
    return Choice(best, tuple(reasons))


def bulk(
    prefix: Annotated[str, typer.Argument(help="Below incoming/, scheduled/ or test/; or a manifest below bulk/.")],
    env: EnvironmentName = "dev",
    method: Annotated[str, typer.Option(help=f"Use this method: {', '.join(NAMES)}.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be started, and why.")] = False,
) -> None:
    """Classify all images below a prefix, or of a list; print the price of each method first."""
    if method and method not in NAMES:
        raise OpsError(f"--method must be one of {', '.join(NAMES)}, not {method!r}")
    config = load_environment(env)
    is_list = prefix.startswith("bulk/")
    if is_list:
        takes_it = "batch-transform" if prefix.endswith(".manifest") else "distributed-map"
        if method not in {"", takes_it}:
            raise OpsError(f"{prefix} is a list of images that only --method {takes_it} takes, not {method}")
        name, execution_input = NAMES[takes_it], {"manifest_key": prefix}
        typer.echo(f"{name}: the only method that takes such a list of images, {prefix}")
    else:
        bucket = aws.bucket(config)
        images = _count(bucket, prefix)
        if not images:
            raise OpsError(f"there is no image below s3://{bucket}/{prefix}")
        choices, prices = methods(_deployment(config), config, counts.load(), Assumptions()), price_list()["prices"]
        choice = choose(choices, images, prices, prefix=prefix)
        name = NAMES[method] if method else choice.method
        typer.echo(f"{images:,} images below s3://{bucket}/{prefix}, by {price_list()['region']}'s list prices:")
        for reason in choice.reasons:
            typer.echo(f"  {reason}")
        typer.echo(f"{name}: {'as requested' if method else 'the cheapest that can process them'}")
        execution_input = {"s3_prefix": prefix}
        if name == "inline Map":
            execution_input["s3_bucket"] = bucket
    if dry_run:
        return
    refuse_while_paused(config, aws.bucket(config), needs="a bulk run invokes")
    arn = aws.output(config, *_STATE_MACHINES[name])
    started = aws.stepfunctions().start_execution(stateMachineArn=arn, input=json.dumps(execution_input))
    typer.echo(started["executionArn"])


def _deployment(config: EnvironmentConfig) -> Deployment:
    """The cost model of the deployed templates; raises OpsError if a workflow is not deployed."""
    for state_machine in _STATE_MACHINES.values():
        aws.output(config, *state_machine)
    return Deployment.of(templates.deployed({stack: f"{config.stage_name}-{stack}" for stack in stack_outputs(config)}))


def _count(bucket: str, prefix: str) -> int:
    """The number of objects below the prefix, without folders; prints progress on a terminal."""
    total = 0
    for page in aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        total += sum(not entry["Key"].endswith("/") for entry in page.get("Contents", []))
        if sys.stderr.isatty() and total >= 100_000:
            typer.echo(f"\r{total:,} images so far", err=True, nl=False)
    return total
