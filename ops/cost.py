"""What each way of classifying images costs, before the first one.

Quantities come from the synthesized templates (memory, architecture, instances, alarms, what is logged) and from counts
measured in executions' own histories (ops/counts.json); prices from ops/prices.json. What neither can tell, as nothing
of this has run on AWS, is in `Assumptions`.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import plotly.graph_objects as go
import typer
from rich.console import Console
from rich.table import Table

from data_prep.terminal import print_whole
from ops import counts, page, templates
from ops.counts import Counts
from ops.errors import OpsError
from ops.page import CLASS_COLOURS, Chart, Fact, Page
from ops.templates import Template
from stacks.config import EnvironmentConfig, load_environment

PRICES = Path(__file__).with_name("prices.json")
HOURS_A_MONTH = 730
# Ten of lambda_src/shared/metrics.py, with two names of errors, and three of stacks/monitoring/metrics.py
CUSTOM_METRICS = 13
_DASHES = ("dot", "dash", "solid", "dashdot")
SCALES = [10**exponent for exponent in range(3, 9)]


@dataclass(frozen=True)
class Assumptions:
    """What only a run on AWS would tell."""

    # Of one image on one instance: the original notebook's own measurement of its endpoint
    inference_seconds: float = 0.2004
    s3_seconds: float = 0.03  # one small GET or PUT from a function
    log_bytes_per_invocation: int = 900  # START and REPORT in JSON
    metric_bytes_per_image: int = 700  # the embedded metrics of FilterConfidence
    log_bytes_per_event: int = 450  # of a state machine, without data; about five events a state
    events_per_state: int = 5
    express_gb: float = 0.0625  # the smallest step of 64 MB
    transform_start_seconds: float = 240  # until an instance answers, which is paid
    images_per_capture_file: int = 20


Quantities = Mapping[str, float]  # by the names of the price list


@dataclass(frozen=True)
class Way:
    """One way, as quantities per execution, per image and per month."""

    name: str
    per_image: Quantities
    per_execution: Quantities
    at_rest: Quantities
    images_per_execution: int | None  # None: all in one
    endpoint: tuple[str, int] | None  # instance type and count that answer at most so many images a month

    def month(self, images: int, prices: Mapping[str, float]) -> float:
        """Dollars of a month with so many images; an endpoint that cannot keep up gets the instances it needs."""
        cost = self.run(images, prices) + dollars(self.at_rest, prices)
        if self.endpoint:
            instance_type, count = self.endpoint
            needed = images * Assumptions().inference_seconds / 3600
            hours = max(count * HOURS_A_MONTH, needed)
            cost += hours * dollars({f"sagemaker.instance_hour.{instance_type}": 1}, prices)
        return cost

    def run(self, images: int, prices: Mapping[str, float]) -> float:
        """Dollars of classifying so many images now, in an environment that is there anyway."""
        executions = math.ceil(images / (self.images_per_execution or max(images, 1)))
        return images * dollars(self.per_image, prices) + executions * dollars(self.per_execution, prices)

    def marginal(self, prices: Mapping[str, float]) -> float:
        """Dollars of one image more, in a long run, without the instances of the endpoint."""
        each = dollars(self.per_image, prices)
        if self.images_per_execution:
            each += dollars(self.per_execution, prices) / self.images_per_execution
        return each


def dollars(quantities: Quantities, prices: Mapping[str, float]) -> float:
    """Raises OpsError for what the price list does not have."""
    missing = [name for name in quantities if name not in prices]
    if missing:
        raise OpsError(f"{PRICES.name} has no price for {missing[0]}: add it, with its source page")
    return sum(quantity * prices[name] for name, quantity in quantities.items())


def load_prices() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(PRICES.read_text(encoding="utf-8"))
    return content


@dataclass(frozen=True)
class Deployment:
    """What the templates of one environment say about cost."""

    functions: Mapping[str, tuple[float, str]]  # memory in GB and architecture by construct name
    endpoint: tuple[str, int] | None
    serverless_gb: float
    alarms: int
    dashboards: int
    logs_states: bool  # of the inline workflow: every event

    @classmethod
    def of(cls, rendered: Mapping[str, Template]) -> "Deployment":
        resources = [
            (logical_id, resource["Type"], resource.get("Properties", {}))
            for template in rendered.values()
            for logical_id, resource in template["Resources"].items()
        ]
        by_type = Counter(kind for _, kind, _ in resources)
        variants = [
            properties["ProductionVariants"][0]
            for _, kind, properties in resources
            if kind == "AWS::SageMaker::EndpointConfig"
        ]
        serverless = variants[0].get("ServerlessConfig") if variants else None
        return cls(
            functions={
                logical_id[:-8]: (properties.get("MemorySize", 128) / 1024, properties["Architectures"][0])
                for logical_id, kind, properties in resources
                if kind == "AWS::Lambda::Function" and "Architectures" in properties
            },
            endpoint=(variants[0]["InstanceType"], variants[0]["InitialInstanceCount"])
            if variants and not serverless
            else None,
            serverless_gb=serverless["MemorySizeInMB"] / 1024 if serverless else 0,
            alarms=by_type["AWS::CloudWatch::Alarm"],
            dashboards=by_type["AWS::CloudWatch::Dashboard"],
            logs_states=any(
                properties.get("LoggingConfiguration", {}).get("Level") == "ALL"
                for logical_id, kind, properties in resources
                if kind == "AWS::StepFunctions::StateMachine" and logical_id.startswith("ClassificationWorkflow")
            ),
        )


def ways(
    deployment: Deployment, config: EnvironmentConfig, measured: Mapping[str, Counts], assume: Assumptions
) -> list[Way]:
    """The original's design and the three of this project."""
    at_rest = resting(deployment)
    per_image, fixed = transitions(measured)
    logged = assume.events_per_state * assume.log_bytes_per_event / 1e9 if deployment.logs_states else 0
    batch, transform_type = config.bulk_batch_size, f"sagemaker.instance_hour.{config.bulk.transform_instance_type}"
    inference = {"sagemaker.serverless_gb_second": deployment.serverless_gb * assume.inference_seconds}
    through_the_endpoint = _sum(
        _invocations(
            deployment,
            assume,
            {
                "SerializeImageData": assume.s3_seconds,
                "Classifier": assume.inference_seconds,
                "FilterConfidence": assume.s3_seconds,
            },
        ),
        {"s3.get": 1, "s3.put": 1 + config.endpoint.capture_percentage / 100 / assume.images_per_capture_file},
        {"cloudwatch.log_gb": assume.metric_bytes_per_image / 1e9},
        inference if deployment.serverless_gb else {},
    )

    def of_a_batch(seconds_per_image: float) -> dict[str, float]:
        """An image's part of its Express child: its start, its request and its time."""
        gb_seconds = assume.express_gb * seconds_per_image / config.bulk_images_at_once
        return {
            "states.transition": 1 / batch,
            "states.express_request": 1 / batch,
            "states.express_gb_second": gb_seconds,
        }

    def of_a_run(workflow: str) -> dict[str, float]:
        return {"states.transition": measured[workflow].states_entered + 1, "sns.publish": 1, "s3.put": 3}

    return [
        original(assume),
        Way(
            "inline Map",
            per_image=_sum(
                through_the_endpoint, {"states.transition": per_image, "cloudwatch.log_gb": per_image * logged}
            ),
            per_execution={"states.transition": fixed, "cloudwatch.log_gb": fixed * logged, "s3.put": 1},
            at_rest=at_rest,
            images_per_execution=500,
            endpoint=deployment.endpoint,
        ),
        Way(
            "Distributed Map",
            per_image=_sum(
                through_the_endpoint,
                {"s3.get": 2},  # to look for a prediction: the image's head, and a key that is not there
                _invocations(
                    deployment, assume, {"FindPredictions": 2 * assume.s3_seconds * batch / 8}, share=1 / batch
                ),
                of_a_batch(2 * assume.s3_seconds + assume.inference_seconds),
            ),
            per_execution=of_a_run("distributed-map"),
            at_rest=at_rest,
            images_per_execution=None,
            endpoint=deployment.endpoint,
        ),
        Way(
            "Batch Transform",
            per_image=_sum(
                _invocations(
                    deployment,
                    assume,
                    {"ReadTransformOutput": 2 * assume.s3_seconds, "FilterConfidence": assume.s3_seconds},
                ),
                # The job reads the image and writes an answer; the function reads the image's head and the answer
                {"s3.get": 3, "s3.put": 2, transform_type: assume.inference_seconds / 3600},
                {"cloudwatch.log_gb": assume.metric_bytes_per_image / 1e9},
                of_a_batch(3 * assume.s3_seconds),
            ),
            per_execution=_sum(
                of_a_run("batch-transform"),
                {transform_type: config.bulk.transform_instance_count * assume.transform_start_seconds / 3600},
            ),
            at_rest={},
            images_per_execution=None,
            endpoint=None,
        ),
    ]


def transitions(measured: Mapping[str, Counts]) -> tuple[float, float]:
    """State transitions of the inline workflow, per image and per execution, from one image and from several."""
    single, several = measured["inline-1"], measured["inline"]
    per_image = (several.states_entered - single.states_entered) / (several.images - single.images)
    return per_image, single.states_entered - per_image * single.images + 1  # reaching the end counts as well


def resting(deployment: Deployment) -> dict[str, float]:
    """What an environment costs a month without an image, besides its endpoint."""
    return {
        "cloudwatch.alarm_month": deployment.alarms,
        "cloudwatch.dashboard_month": deployment.dashboards,
        "cloudwatch.metric_month": CUSTOM_METRICS,
    }


def idle_month(rendered: Mapping[str, Template]) -> float:
    """Dollars of a month without an image; 0 of no templates."""
    deployment = Deployment.of(rendered)
    idle = Way("idle", {}, {}, at_rest=resting(deployment), images_per_execution=None, endpoint=deployment.endpoint)
    return idle.month(0, load_prices()["prices"]) if rendered else 0


def original(assume: Assumptions) -> Way:
    """The notebook's: one Standard execution of three states an image, functions of 128 MB, an ml.m5.xlarge."""
    return Way(
        "original notebook",
        per_image={
            "states.transition": 3 + 1,
            "lambda.request": 3,
            "lambda.gb_second.x86_64": 0.125 * (assume.inference_seconds + assume.s3_seconds),
            "s3.get": 1,
            "s3.put": 1 / assume.images_per_capture_file,
            "cloudwatch.log_gb": 3 * assume.log_bytes_per_invocation / 1e9,
        },
        per_execution={},
        at_rest={},
        images_per_execution=1,
        endpoint=("ml.m5.xlarge", 1),
    )


def _invocations(
    deployment: Deployment, assume: Assumptions, seconds: Mapping[str, float], *, share: float = 1
) -> dict[str, float]:
    """Requests, GB-seconds and logs of functions that run for so long; `share` of each falls to an image."""
    parts = []
    for name, duration in seconds.items():
        memory_gb, architecture = deployment.functions[name]
        parts.append(
            {
                "lambda.request": share,
                f"lambda.gb_second.{architecture}": share * memory_gb * duration,
                "cloudwatch.log_gb": share * assume.log_bytes_per_invocation / 1e9,
            }
        )
    return _sum(*parts)


def _sum(*parts: Quantities) -> dict[str, float]:
    return {
        name: sum(part.get(name, 0) for part in parts) for name in sorted({name for part in parts for name in part})
    }


@dataclass(frozen=True)
class Range:
    """From `images` a month on, this way is the cheapest."""

    images: int
    way: Way


def cheapest(choices: Sequence[Way], images: int, prices: Mapping[str, float]) -> Way:
    return min(choices, key=lambda way: way.month(images, prices))


def ranges(choices: Sequence[Way], prices: Mapping[str, float], *, most: int = 10**9) -> list[Range]:
    """Which way is the cheapest from how many images on: where the lines cross, to the image."""
    found = [Range(1, cheapest(choices, 1, prices))]
    low = 1
    while low < most:
        high = min(most, max(low + 1, round(low * 1.05)))
        way = cheapest(choices, high, prices)
        if way is not found[-1].way:
            below, above = low, high
            while above - below > 1:
                middle = (below + above) // 2
                below, above = (
                    (middle, above) if cheapest(choices, middle, prices) is found[-1].way else (below, middle)
                )
            found.append(Range(above, cheapest(choices, above, prices)))
        low = high
    return found


def cost(
    images: Annotated[int | None, typer.Option(min=1, help="Images a month. Default: a table of scales.")] = None,
    env: Annotated[str, typer.Option(help="An environment of cdk.json.")] = "dev",
    plot: Annotated[Path, typer.Option(help="Where the plot goes, as a web page.")] = Path("build/cost.html"),
) -> None:
    """Show what each way of classifying images costs, while idle and by the month, before the first image."""
    config = load_environment(env)
    deployment = Deployment.of(templates.synthesize(only=env).templates)
    content, assume = load_prices(), Assumptions()
    prices, choices = content["prices"], ways(deployment, config, counts.load(), Assumptions())
    console = Console(highlight=False)
    origin = f"{content['currency']}, {content['region']}, list prices of {content['date']} (ops/{PRICES.name})"
    console.print(f"{origin}\n", soft_wrap=True)
    _show_resting(console, deployment, prices, env)
    _show_images(console, choices, prices)
    _show_months(console, choices, prices, [images] if images else SCALES)
    remarks = [*_cheapest_lines(choices, prices), *_notes(choices, prices, assume)]
    console.print("\n".join(remarks), soft_wrap=True)
    page.write(cost_page(config, deployment, choices, prices, origin=origin, remarks=remarks), plot)
    console.print(f"Plot: {plot}", soft_wrap=True)


def _cheapest_lines(choices: Sequence[Way], prices: Mapping[str, float]) -> list[str]:
    return [
        f"From {found.images:>13,} images a month on, {found.way.name} is the cheapest."
        for found in ranges(choices, prices)
    ]


def _notes(choices: Sequence[Way], prices: Mapping[str, float], assume: Assumptions) -> list[str]:
    first, last = choices[0].marginal(prices), choices[2].marginal(prices)
    return [
        "",
        f"An image of a bulk run costs {last / first:.3f} of one of the original's design, endpoints aside.",
        "Assumed, as nothing of this has run on AWS:",
        f"{assume.inference_seconds} s an inference (the original's own measurement), "
        f"{assume.s3_seconds} s a call of S3.",
    ]


def _resting_dollars(deployment: Deployment, prices: Mapping[str, float]) -> dict[str, float]:
    """Dollars a month by what is paid without an image."""
    parts: dict[str, Quantities] = {
        name.split(".")[1].removesuffix("_month"): {name: n} for name, n in resting(deployment).items()
    }
    if deployment.endpoint:
        kind, number = deployment.endpoint
        parts[f"{number} x {kind}"] = {f"sagemaker.instance_hour.{kind}": number * HOURS_A_MONTH}
    return {name: dollars(quantities, prices) for name, quantities in parts.items()}


def _show_resting(console: Console, deployment: Deployment, prices: Mapping[str, float], env: str) -> None:
    table = Table("idle, a month", env, box=None, header_style="bold", pad_edge=False)
    table.columns[1].justify = "right"
    parts = _resting_dollars(deployment, prices)
    for name, value in parts.items():
        table.add_row(name, f"{value:.2f}")
    table.add_row("[bold]total", f"[bold]{sum(parts.values()):.2f}")
    console.print(table, "")


_SERVICES = ("states", "lambda", "s3", "cloudwatch", "sagemaker")


def _million(way: Way, prices: Mapping[str, float]) -> list[float]:
    """Dollars of a million images by service, in a long run, without the instances of the endpoint."""
    executions = 1 / (way.images_per_execution or math.inf)
    quantities = _sum(way.per_image, {name: n * executions for name, n in way.per_execution.items()})
    return [
        1e6 * dollars({name: n for name, n in quantities.items() if name.startswith(f"{service}.")}, prices)
        for service in _SERVICES
    ]


def _show_images(console: Console, choices: Sequence[Way], prices: Mapping[str, float]) -> None:
    table = Table(
        "a million images, endpoint aside", *_SERVICES, "total", box=None, header_style="bold", pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for way in choices:
        cells = [f"{value:.2f}" for value in _million(way, prices)]
        table.add_row(way.name, *cells, f"{1e6 * way.marginal(prices):.2f}")
    print_whole(console, table)
    console.print()


def _show_months(console: Console, choices: Sequence[Way], prices: Mapping[str, float], scales: Sequence[int]) -> None:
    table = Table("images a month", *(way.name for way in choices), box=None, header_style="bold", pad_edge=False)
    for column in table.columns:
        column.justify = "right"
    for images in scales:
        best = cheapest(choices, images, prices)
        totals = [(way, way.month(images, prices)) for way in choices]
        table.add_row(
            f"{images:,}", *(f"[green]{total:,.2f}[/]" if way is best else f"{total:,.2f}" for way, total in totals)
        )
    print_whole(console, table)
    console.print()


def cost_page(
    config: EnvironmentConfig,
    deployment: Deployment,
    choices: Sequence[Way],
    prices: Mapping[str, float],
    *,
    origin: str,
    remarks: Sequence[str],
) -> Page:
    """What each way costs by the month, and what a million images cost by service."""
    idle = sum(_resting_dollars(deployment, prices).values())
    facts = [Fact("Idle", f"{idle:,.2f}", "USD a month")]
    facts += [Fact(way.name, f"{1e6 * way.marginal(prices):,.2f}", "USD a million images") for way in choices]
    return Page(
        f"Scones Unlimited {config.name}: what classifying images costs",
        origin,
        facts,
        [_months_chart(choices, prices), _services_chart(choices, prices)],
        [line for line in remarks if line],
    )


def _months_chart(choices: Sequence[Way], prices: Mapping[str, float]) -> Chart:
    scales = [round(10 ** (exponent / 8)) for exponent in range(16, 73)]
    return Chart(
        name="months",
        heading="A month, endpoint included",
        text="Dollars a month by images a month; both axes are logarithmic. The lowest line is the cheapest way.",
        figure=page.figure(
            [
                go.Scatter(
                    x=scales,
                    y=[way.month(number, prices) for number in scales],
                    name=way.name,
                    mode="lines",
                    line={"color": colour, "dash": dash, "width": 2.5},
                    hovertemplate="%{x:,.0f} images<br>%{y:,.2f} USD<extra>" + way.name + "</extra>",
                )
                for way, colour, dash in zip(choices, CLASS_COLOURS, _DASHES, strict=False)
            ],
            xaxis={"type": "log", "title": {"text": "images a month"}, "dtick": 1},
            yaxis={"type": "log", "title": {"text": "USD a month"}, "dtick": 1},
        ),
        alt=" ".join(" ".join(line.split()) for line in _cheapest_lines(choices, prices)),
        table=page.Table(
            ["images a month", *(way.name for way in choices)],
            [[f"{number:,}", *(f"{way.month(number, prices):,.2f}" for way in choices)] for number in SCALES],
        ),
        is_wide=True,
    )


def _services_chart(choices: Sequence[Way], prices: Mapping[str, float]) -> Chart:
    names = [way.name for way in choices]
    millions = [_million(way, prices) for way in choices]
    cheap = min(choices, key=lambda way: way.marginal(prices))
    return Chart(
        name="services",
        heading="A million images by service, endpoint aside",
        text="Dollars of a long run, without the instances of the endpoint.",
        figure=page.figure(
            [
                go.Bar(
                    x=[million[index] for million in millions],
                    y=names,
                    orientation="h",
                    name=service,
                    marker={"color": colour},
                    hovertemplate="%{y}<br>%{x:,.2f} USD<extra>" + service + "</extra>",
                )
                for index, (service, colour) in enumerate(zip(_SERVICES, CLASS_COLOURS, strict=True))
            ],
            barmode="stack",
            xaxis={"title": {"text": "USD"}},
            yaxis={"type": "category", "autorange": "reversed"},
        ),
        alt=f"Stacked bars of the price of a million images by service. {cheap.name} costs the least",
        table=page.Table(
            ["", *_SERVICES, "total"],
            [
                [name, *(f"{value:,.2f}" for value in million), f"{sum(million):,.2f}"]
                for name, million in zip(names, millions, strict=True)
            ],
        ),
        is_wide=True,
    )
