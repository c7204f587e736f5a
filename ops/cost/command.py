"""`python -m ops cost`: estimates what classifying images costs, and shows what it has cost."""

from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError
from rich.console import Console

from data_prep import aws
from data_prep.errors import TargetError
from data_prep.options import EnvironmentName
from data_prep.target import current_target, region
from ops import counts, page, templates
from ops.cost import report
from ops.cost.actual import actual_cost
from ops.cost.deployment import Deployment
from ops.cost.methods import Assumptions, methods
from ops.cost.plots import cost_page
from ops.cost.training import runs
from ops.errors import OpsError
from stacks.config import load_environment
from stacks.shared.prices import PRICES, price_list


def cost(
    images: Annotated[int | None, typer.Option(min=1, help="Images a month. Default: a table of scales.")] = None,
    env: EnvironmentName = "dev",
    plot: Annotated[Path, typer.Option(help="Where the plot goes, as a web page.")] = Path("build/cost.html"),
    actual: Annotated[
        bool, typer.Option("--actual", help="Ask Cost Explorer what the last 30 days have cost; it takes 0.01 USD.")
    ] = False,
) -> None:
    """Show what each method of classifying images costs, while idle and by the month, before the first image."""
    config = load_environment(env)
    console = Console(highlight=False)
    if actual:
        if current_target().is_local:
            raise OpsError("the local cloud costs nothing: --actual asks an account")
        report.show_actual(console, actual_cost(aws.cost_explorer(), env), env)
        return
    assembly = templates.synthesize()
    names = dict.fromkeys(stack.partition("/")[0] for stack in assembly.templates)
    deployments = {
        name: Deployment.of(assembly.only(name).templates).paused_by(load_environment(name).endpoint) for name in names
    }
    deployment, assume, measured = deployments[env], Assumptions(), counts.load()
    content = price_list()
    prices, choices = content["prices"], methods(deployment, config, measured, assume)
    origin = (
        f"{content['currency']}, {content['region']}, list prices of {content['date']} (stacks/shared/{PRICES.name})"
    )
    origin += _other_region(content["region"])
    console.print(f"{origin}\n", soft_wrap=True)
    report.show_idle(console, deployments, prices)
    report.show_runs(console, runs(config, assume), prices)
    report.show_images(console, choices, prices)
    report.show_months(console, choices, prices, [images] if images else report.SCALES)
    report.show_few(console, report.few_images(deployment, config, measured, assume), deployment, prices)
    remarks = [*report.cheapest_lines(choices, prices), *report.notes(choices, prices, assume)]
    console.print("\n".join(remarks), soft_wrap=True)
    page.write(cost_page(config, deployment, choices, prices, origin=origin, remarks=remarks), plot)
    console.print(f"Plot: {plot}", soft_wrap=True)


def _other_region(listed: str) -> str:
    """A remark if the shell's region is not that of the price list."""
    try:
        name = region()
    except (TargetError, BotoCoreError):
        return ""
    return "" if name == listed else f". The prices of {name}, your region, are unknown here: most are higher"
