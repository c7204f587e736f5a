"""`python -m ops generate`: test cases and traffic for the workflow."""

import json
import random
import re
from itertools import islice
from typing import Annotated

import typer
from rich.console import Console

from data_prep.options import EnvironmentName
from data_prep.progress import progress_bars
from data_prep.terminal import visible
from ops import aws
from ops.pictures import Drift
from ops.traffic import carry_out
from ops.traffic.plan import Plan, Run, Via, choose, item, test_images
from ops.traffic.tally import Tally
from stacks.config import load_environment

LISTED_UNFINISHED = 10
MAX_BATCH = 500  # of one execution; the bulk workflow takes more

Seed = Annotated[int | None, typer.Option(min=0, help="The same seed gives the same choice.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=MAX_BATCH, help="How many images.")]

generate = typer.Typer(no_args_is_help=True, help="Test cases and traffic for the workflow.")


@generate.command(epilog="Example: python -m ops generate case --env dev --seed 1")
def case(*, env: EnvironmentName = "dev", seed: Seed = None) -> None:
    """Print the workflow input of one random test image."""
    (only,) = _items(env, 1, seed)
    typer.echo(json.dumps(only))


@generate.command(epilog="Example: python -m ops generate batch --env dev -n 20 --seed 1")
def batch(*, env: EnvironmentName = "dev", count: Count = 10, seed: Seed = None) -> None:
    """Print the workflow input of several random test images."""
    typer.echo(json.dumps({"images": _items(env, count, seed)}))


def _items(env: str, count: int, seed: int | None) -> list[dict[str, str]]:
    config = load_environment(env)
    bucket = aws.bucket(config)
    keys = choose(test_images(bucket), count, random.Random(seed))  # noqa: S311 - to be repeatable, not secret
    return [item(bucket, key) for key in keys]


@generate.command(epilog="Example: python -m ops generate stream --env dev --rate 5 --duration 30s --seed 1")
def stream(
    *,
    env: EnvironmentName = "dev",
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="Images a second.")] = 5.0,
    duration: Annotated[str, typer.Option(help="For how long: 30s, 10m, 2h.")] = "60s",
    seed: Seed = None,
    via: Annotated[
        Via | None,
        typer.Option(help="Start executions, or upload to incoming/. Default: executions, uploads with --drift."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Images of each execution, for bulk traffic.")] = 1,
    drift: Annotated[Drift | None, typer.Option(help="Upload images that the model was not trained for.")] = None,
    drift_after: Annotated[str, typer.Option(help="When the drift begins.")] = "0s",
    bad: Annotated[float, typer.Option(min=0, max=1, help="Share of inputs that cannot succeed.")] = 0.0,
    label: Annotated[
        bool, typer.Option("--label", help="Also upload the true classes below ground-truth/, simulating human labels.")
    ] = False,
    settle: Annotated[str, typer.Option(help="How long to wait for the last outcomes.")] = "2m",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON on standard output.")] = False,
) -> None:
    """Send images at a steady rate and report the outcomes. Ctrl-C stops sending and prints the report."""
    config = load_environment(env)
    chosen: Via = via or ("uploads" if drift else "executions")
    if drift and chosen == "executions":
        raise typer.BadParameter("drifted images must be uploaded: leave --via out, or say --via uploads")
    if batch > 1 and chosen == "uploads":
        raise typer.BadParameter("each upload starts its own execution: --batch needs --via executions")
    plan = Plan(
        classes=config.classes,
        images=max(1, round(rate * parse_duration(duration))),
        rate=rate,
        seed=random.randrange(2**32) if seed is None else seed,  # noqa: S311
        via=chosen,
        batch=batch,
        bad=bad,
        drift=drift,
        drift_from=round(rate * parse_duration(drift_after)),
        label=label,
    )
    run = Run(plan, aws.deployment(config))
    with progress_bars(quiet=quiet) as progress:
        tally = carry_out(run, settle_seconds=parse_duration(settle), progress=progress)
    if as_json:
        typer.echo(json.dumps({"run": run.name, "seed": plan.seed, **tally.as_dict()}, indent=2))
    else:
        _show(run.name, plan, tally)
    if tally.sent + tally.not_sent < plan.images:
        raise typer.Exit(130)  # interrupted
    if tally.not_sent:
        raise typer.Exit(1)


def parse_duration(text: str) -> float:
    """Seconds; raises typer.BadParameter."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", text)
    if not found:
        raise typer.BadParameter(f"{text!r} is no duration such as 30s, 10m or 2h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def _show(name: str, plan: Plan, tally: Tally) -> None:
    console = Console(highlight=False)
    speed = tally.sent / tally.seconds if tally.seconds else 0
    console.print(
        f"{name}, seed {plan.seed}: {tally.sent:,} images in {tally.seconds:.1f} s, {speed:.1f}/s", soft_wrap=True
    )
    console.print(f"accepted {tally.accepted:,}, rejected {tally.rejected:,}, failed {tally.failed:,}")
    if tally.not_sent:
        console.print(f"[red]not sent {tally.not_sent:,}[/]")
    if tally.unfinished:
        console.print(f"[yellow]no outcome yet: {tally.unfinished:,}[/]")
        for request, known in islice(tally.unfinished_requests.items(), LISTED_UNFINISHED):
            console.print(visible(f"  {request}  {known}"), markup=False, soft_wrap=True)
        if (more := len(tally.unfinished_requests) - LISTED_UNFINISHED) > 0:
            console.print(f"  and {more:,} more: --json names each")
    if tally.finished:
        shown = ", ".join(f"p{percent} {tally.latencies.percentile(percent):.2f} s" for percent in (50, 90, 99))
        console.print(f"duration of an execution: {shown}, longest {tally.latencies.longest:.2f} s", soft_wrap=True)
    for error, count in tally.errors.most_common(8):
        console.print(visible(f"  {count:,} {error}"), markup=False, soft_wrap=True)
