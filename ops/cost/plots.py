"""The page with the plots of `ops cost`."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from ops import page
from ops.cost.deployment import Deployment, idle_parts
from ops.cost.methods import Method
from ops.cost.quantities import amount
from ops.cost.report import SCALES, SERVICES, cheapest_lines, million
from ops.page import CLASS_COLOURS, Chart, Fact, Page
from stacks.config import EnvironmentConfig

_DASHES = ("dot", "longdash", "dash", "solid", "dashdot")


def cost_page(
    config: EnvironmentConfig,
    deployment: Deployment,
    choices: Sequence[Method],
    prices: Mapping[str, float],
    *,
    origin: str,
    remarks: Sequence[str],
) -> Page:
    """The monthly cost of each method, and the cost of a million images by service."""
    idle = sum(idle_parts(deployment, prices).values())
    facts = [Fact("Idle", amount(idle), "USD a month")]
    facts += [Fact(method.name, amount(1e6 * method.marginal(prices)), "USD a million images") for method in choices]
    return Page(
        f"Scones Unlimited {config.name}: what classifying images costs",
        origin,
        facts,
        [_months_chart(choices, prices), _services_chart(choices, prices)],
        [line for line in remarks if line],
    )


def _months_chart(choices: Sequence[Method], prices: Mapping[str, float]) -> Chart:
    scales = [round(10 ** (exponent / 8)) for exponent in range(16, 73)]
    return Chart(
        name="months",
        heading="A month, endpoint included",
        text="Dollars a month by images a month; both axes are logarithmic. The lowest line is the cheapest method.",
        figure=page.figure(
            [
                go.Scatter(
                    x=scales,
                    y=[method.month(number, prices) for number in scales],
                    name=method.name,
                    mode="lines",
                    line={"color": colour, "dash": dash, "width": 2.5},
                    hovertemplate="%{x:,.0f} images<br>%{y:,.2f} USD<extra>" + method.name + "</extra>",
                )
                for method, colour, dash in zip(choices, CLASS_COLOURS, _DASHES, strict=False)
            ],
            xaxis={"type": "log", "title": {"text": "images a month"}, "dtick": 1},
            yaxis={"type": "log", "title": {"text": "USD a month"}, "dtick": 1},
        ),
        alt=" ".join(" ".join(line.split()) for line in cheapest_lines(choices, prices)),
        table=page.Table(
            ["images a month", *(method.name for method in choices)],
            [[f"{number:,}", *(amount(method.month(number, prices)) for method in choices)] for number in SCALES],
        ),
        is_wide=True,
    )


def _services_chart(choices: Sequence[Method], prices: Mapping[str, float]) -> Chart:
    names = [method.name for method in choices]
    millions = [million(method, prices) for method in choices]
    cheap = min(choices, key=lambda method: method.marginal(prices))
    return Chart(
        name="services",
        heading="A million images by service, endpoint aside",
        text="Dollars of a long run, without the instances of the endpoint.",
        figure=page.figure(
            [
                go.Bar(
                    x=[found[index] for found in millions],
                    y=names,
                    orientation="h",
                    name=service,
                    marker={"color": colour},
                    hovertemplate="%{y}<br>%{x:,.2f} USD<extra>" + service + "</extra>",
                )
                for index, (service, colour) in enumerate(zip(SERVICES, CLASS_COLOURS, strict=True))
            ],
            barmode="stack",
            xaxis={"title": {"text": "USD"}},
            yaxis={"type": "category", "autorange": "reversed"},
        ),
        alt=f"Stacked bars of the price of a million images by service. {cheap.name} costs the least",
        table=page.Table(
            ["", *SERVICES, "total"],
            [
                [name, *(amount(value) for value in found), amount(sum(found))]
                for name, found in zip(names, millions, strict=True)
            ],
        ),
        is_wide=True,
    )
