"""Writes a self-contained HTML file with charts: it opens from disk, needs no network, and follows light and dark.

plotly.js, which the file contains once, draws the charts. Each chart has its numbers in a table beside it, for readers
who cannot see it, and for browsers without scripts.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

# Okabe and Ito's colours for all kinds of colour vision (https://jfly.uni-koeln.de/color/), those with enough contrast
# on white and on black
BLUE, ORANGE, GREEN, PINK, SKY, GREY = "#0f7fc4", "#d55e00", "#009e73", "#c8649a", "#3f97c9", "#7d8590"
CLASS_COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY)

Tone = Literal["", "good", "warning", "bad"]
Trace: TypeAlias = go.Scatter | go.Bar


@dataclass(frozen=True)
class Fact:
    """A key figure at the top of the page."""

    name: str
    value: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """The data of a chart as a table."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """A plot with a heading, an explanation and a table. `alt` describes the plot."""

    name: str
    heading: str
    text: str
    figure: go.Figure
    alt: str
    table: Table
    is_wide: bool = False

    @property
    def json(self) -> Markup:
        # The only text that could end the script element
        return Markup(str(self.figure.to_json()).replace("</", "<\\/"))  # noqa: S704 - JSON, and made harmless


@dataclass(frozen=True)
class Remark:
    """Explains why a chart is missing."""

    heading: str
    text: str
    is_wide: bool = False


@dataclass(frozen=True)
class Mark:
    """A label on a picture, in the colour of its meaning."""

    text: str
    tone: Tone


@dataclass(frozen=True)
class Picture:
    """A small image; `png` is None if it cannot be shown."""

    png: bytes | None
    alt: str
    caption: Sequence[str]
    marks: Sequence[Mark] = ()

    @property
    def lines(self) -> list[Markup]:
        """The caption, with line-break opportunities in keys."""
        # No escaped character contains these
        return [Markup(re.sub(r"([/_-])", r"\1<wbr>", str(escape(line)))) for line in self.caption]  # noqa: S704

    @property
    def uri(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.png or b'').decode()}"


@dataclass(frozen=True)
class Gallery:
    """Pictures with a heading."""

    heading: str
    text: str
    pictures: Sequence[Picture]
    table: Table


@dataclass(frozen=True)
class Page:
    """The whole file."""

    title: str
    subtitle: str
    facts: Sequence[Fact]
    sections: Sequence[Chart | Remark | Gallery]
    notes: Sequence[str] = ()


def render(page: Page) -> str:
    """The file's content."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        page=page,
        kinds=[(type(section).__name__, section) for section in page.sections],
        plotly_js=Markup(get_plotlyjs()),  # noqa: S704 - the library's own file
    )


def write(page: Page, path: Path) -> None:
    """Write the file, and create its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(page), encoding="utf-8")


def figure(traces: Sequence[Trace], **layout: object) -> go.Figure:
    """A plot that uses the page's colours."""
    drawn = go.Figure(
        data=list(traces),
        layout=go.Layout(
            template=go.layout.Template(),
            margin={"l": 48, "r": 12, "t": 36 if len(traces) > 1 else 14, "b": 36},
            showlegend=len(traces) > 1,
            legend={"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "traceorder": "normal"},
            hovermode="closest",
            **layout,
        ),
    )
    drawn.update_xaxes(automargin=True)
    drawn.update_yaxes(automargin=True)
    return drawn


def bounds(*lines: tuple[float, str, str]) -> dict[str, object]:
    """Layout of dashed horizontal lines: height, text and colour of each. The texts stand at the right and left end."""
    return {
        "shapes": [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": y,
                "y1": y,
                "line": {"color": colour, "dash": "dash", "width": 1.5},
            }
            for y, _, colour in lines
        ],
        "annotations": [
            {
                "xref": "paper",
                "x": 1 - index % 2,
                "y": y,
                "text": text,
                "showarrow": False,
                "xanchor": "right" if index % 2 == 0 else "left",
                "yanchor": "bottom",
                "yshift": 3,
                "borderpad": 2,
                "font": {"size": 12},
            }
            for index, (y, text, _) in enumerate(lines)
        ],
    }


def error_bars(values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> dict[str, object]:
    """The interval of each value, as plotly.js takes it."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, (_, high) in zip(values, intervals, strict=True)],
        "arrayminus": [value - low for value, (low, _) in zip(values, intervals, strict=True)],
        "thickness": 1,
        "width": 3,
    }
