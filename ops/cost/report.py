"""The tables of `ops cost`, and the remarks below them."""

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from data_prep.terminal import print_whole
from ops.cost.actual import NOTHING_FOUND, REQUEST_USD, Actual
from ops.cost.deployment import Deployment, idle_parts, watching
from ops.cost.methods import Assumptions, Method, cheapest, methods, ranges
from ops.cost.quantities import amount, dollars, total
from ops.cost.training import Run
from ops.counts import Counts
from stacks.config import EnvironmentConfig

FEW = 1_000  # images a month, too few for an always-on endpoint


def cheapest_lines(choices: Sequence[Method], prices: Mapping[str, float]) -> list[str]:
    return [
        f"From {found.images:>13,} images a month on, {found.method.name} is the cheapest."
        for found in ranges(choices, prices)
    ]


def notes(choices: Sequence[Method], prices: Mapping[str, float], assume: Assumptions) -> list[str]:
    by_name = {method.name: method.marginal(prices) for method in choices}
    first, last = by_name["original notebook"], by_name["Distributed Map"]
    return [
        "",
        f"An image of a bulk run costs {last / first:.3f} of one of the original's design, endpoints aside.",
        "Assumed, as nothing of this has run on AWS:",
        f"{assume.inference_seconds} s an inference (the original's own measurement), "
        f"{assume.s3_seconds} s a call of S3, {assume.init_seconds} s a function's start.",
    ]


def show_idle(console: Console, deployments: Mapping[str, Deployment], prices: Mapping[str, float]) -> None:
    """A column for each environment."""
    parts = {name: idle_parts(deployment, prices) for name, deployment in deployments.items()}
    table = Table("idle, a month", *parts, box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = dict.fromkeys(row for found in parts.values() for row in found)
    for row in sorted(rows, key=lambda row: " x " in row):  # instances last
        table.add_row(row, *(amount(found[row]) if row in found else "" for found in parts.values()))
    table.add_row("[bold]total", *(f"[bold]{amount(sum(found.values()))}" for found in parts.values()))
    console.print(table, "")


def show_runs(console: Console, runs: Sequence[Run], prices: Mapping[str, float]) -> None:
    """The cost of a model by job."""
    table = Table("a model", "jobs", "total", box=None, header_style="bold", pad_edge=False)
    table.columns[2].justify = "right"
    for run in runs:
        jobs = ", ".join(f"{name} {amount(dollars(quantities, prices))}" for name, quantities in run.jobs.items())
        table.add_row(run.name, jobs, amount(run.dollars(prices)))
    print_whole(console, table)
    console.print()


def few_images(
    deployment: Deployment, config: EnvironmentConfig, measured: Mapping[str, Counts], assume: Assumptions
) -> dict[str, Method]:
    """Ways to classify few pictures a month, from the always-on endpoint to none."""

    def by_name(deployment: Deployment) -> dict[str, Method]:
        return {method.name: method for method in methods(deployment, config, measured, assume)}

    on_instances = by_name(deployment.on_instances(config.endpoint))
    serverless = by_name(deployment.serverless(config.endpoint))
    return {
        "always-on endpoint, single uploads": on_instances["single uploads"],
        "serverless endpoint, single uploads": serverless["single uploads"],
        "serverless endpoint, a list": serverless["inline Map"],
        "no endpoint, Batch Transform": on_instances["Batch Transform"],
    }


def show_few(
    console: Console, choices: Mapping[str, Method], deployment: Deployment, prices: Mapping[str, float]
) -> None:
    """Cost of endpoint and images at a low load. Monitoring costs the same with each."""
    table = Table(
        f"{FEW:,} images a month", "endpoint and images", "of always-on", box=None, header_style="bold", pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    months = {name: method.month(FEW, prices) - dollars(method.idle, prices) for name, method in choices.items()}
    always_on = next(iter(months.values()))
    for name, month in months.items():
        share = month / always_on
        table.add_row(name, amount(month), "unknown" if math.isnan(share) else f"{share:.2%}")
    print_whole(console, table)
    watched = amount(dollars(watching(deployment), prices))
    console.print(f"Alarms, dashboard, metrics and keys come on top of each: {watched}, less CloudWatch's free tier.\n")


def show_actual(console: Console, found: Actual, environment: str) -> None:
    """The costs that AWS has billed, by service."""
    table = Table(f"{found.start} to {found.end}", f"{environment}, USD", box=None, header_style="bold", pad_edge=False)
    table.columns[1].justify = "right"
    for service, value in found.services.items():
        table.add_row(service, amount(value))
    table.add_row("[bold]total", f"[bold]{amount(found.dollars)}")
    print_whole(console, table)
    if not found.services:
        console.print(NOTHING_FOUND.format(environment=environment), soft_wrap=True)
    console.print(f"This answer cost {found.requests * REQUEST_USD:.2f} USD ({found.requests} requests).")


SCALES = [10**exponent for exponent in range(3, 9)]
SERVICES = ("states", "lambda", "s3", "cloudwatch", "sagemaker")


def million(method: Method, prices: Mapping[str, float]) -> list[float]:
    """Dollars of a million images by service, in a long run, without the instances of the endpoint."""
    executions = 1 / (method.images_per_execution or math.inf)
    quantities = total(method.per_image, {name: n * executions for name, n in method.per_execution.items()})
    return [
        1e6 * dollars({name: n for name, n in quantities.items() if name.startswith(f"{service}.")}, prices)
        for service in SERVICES
    ]


def show_images(console: Console, choices: Sequence[Method], prices: Mapping[str, float]) -> None:
    table = Table("a million images, endpoint aside", *SERVICES, "total", box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for method in choices:
        cells = [amount(value) for value in million(method, prices)]
        table.add_row(method.name, *cells, amount(1e6 * method.marginal(prices)))
    print_whole(console, table)
    console.print()


def show_months(
    console: Console, choices: Sequence[Method], prices: Mapping[str, float], scales: Sequence[int]
) -> None:
    table = Table("images a month", *(method.name for method in choices), box=None, header_style="bold", pad_edge=False)
    for column in table.columns:
        column.justify = "right"
    for images in scales:
        best = cheapest(choices, images, prices)
        months = [(method, method.month(images, prices)) for method in choices]
        table.add_row(
            f"{images:,}",
            *(f"[green]{amount(month)}[/]" if method is best else amount(month) for method, month in months),
        )
    print_whole(console, table)
    console.print()
