"""The report as a browser shows it: from disk, without network, light and dark, on a desk and on a phone."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.browser import opened
from tests.unit.ops.conftest import START, capture_line
from tests.unit.ops.test_capture_report import PLOTS, full_report
from tests.unit.ops.test_capture_report import report as report_of

# Shows the report in a frame of a phone's width, and tells what it finds in it
PROBE = """<!doctype html><meta charset="utf-8"><body>
<iframe src="report.html" width="%d" height="4000" style="border: 0"></iframe><output id="found"></output>
<script>
  addEventListener("load", () => setTimeout(() => {
    const page = document.querySelector("iframe").contentDocument;
    const style = (selector, name) => getComputedStyle(page.querySelector(selector))[name];
    const root = page.documentElement;
    const wide = [...page.querySelectorAll("section, .plot, .plot svg, .gallery")]
      .filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1).length;
    document.getElementById("found").textContent = JSON.stringify({
      scrolls: root.scrollWidth > root.clientWidth, wide, ground: style("body", "backgroundColor"),
      text: style("body", "color"), tick: style("#drift .xtick text", "fill"),
    });
  }, 1500));
</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(full_report(), encoding="utf-8")
    return path


def test_every_plot_is_drawn_and_the_console_is_clean(report: Path, tmp_path: Path) -> None:
    document, console = opened(report.as_uri(), profile=tmp_path)
    assert console == []
    parts = re.split(r'<div class="plot[^>]*id="', document)[1:]
    assert [part.partition('"')[0] for part in parts] == PLOTS
    for name, part in zip(PLOTS, parts, strict=True):
        drawn = re.findall(r'<path class="point"|<g class="point">', part.partition("<details>")[0])
        assert len(drawn) >= 2, name
    assert document.count('<img src="data:image/png') == 24


@pytest.mark.parametrize("seconds", [1, 2, 5, 20])
def test_a_few_seconds_have_ticks_of_whole_seconds(tmp_path: Path, seconds: int) -> None:
    lines = [capture_line(n, 0.95, time=START + timedelta(seconds=n % seconds)) for n in range(40)]
    path = tmp_path / "report.html"
    path.write_text(report_of(*lines), encoding="utf-8")
    document, console = opened(path.as_uri(), profile=tmp_path)
    assert console == []
    ticks = re.findall(r'data-unformatted="(\d\d:\d\d:[\d.]+)', document)
    assert len(ticks) >= 3  # of three plots over time
    assert all(re.fullmatch(r"08:00:\d\d", tick) for tick in ticks), ticks


def test_a_script_that_fails_would_be_noticed(report: Path, tmp_path: Path) -> None:
    damaged = report.with_name("damaged.html")
    damaged.write_text(report.read_text(encoding="utf-8").replace("Plotly.newPlot(", "Plotly.noPlot("))
    assert opened(damaged.as_uri(), profile=tmp_path)[1] != []


@pytest.mark.parametrize("width", [360, 768])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_fits_a_phone_and_follows_the_colour_scheme(report: Path, tmp_path: Path, width: int, scheme: str) -> None:
    probe = report.with_name("probe.html")
    probe.write_text(PROBE % width)
    document, console = opened(probe.as_uri(), profile=tmp_path, scheme=scheme)
    assert console == []
    found = re.search(r'<output id="found">(.*?)</output>', document)
    assert found
    assert '"scrolls":false,"wide":0' in found[1]
    ground, text, tick = (sum(map(int, channels)) for channels in re.findall(r"rgb\((\d+), (\d+), (\d+)\)", found[1]))
    assert (ground < 150, text > 600, tick > 600) == ((scheme == "dark"),) * 3
