"""The report in a browser: from disk, without network, in light and dark mode, on a desktop and on a phone."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.browser import Browser, opened
from tests.unit.ops.conftest import START, capture_line
from tests.unit.ops.test_capture_report import PLOTS, full_report
from tests.unit.ops.test_capture_report import report as report_of

# Until the page has been shown with what has changed
NEXT_FRAMES = "new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)))"
# What there is to see in the report: what is wider than the page, and three colours
FOUND = """(() => {
  const style = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
  const root = document.documentElement;
  const wide = [...document.querySelectorAll("section, .plot, .plot svg, .gallery")]
    .filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1).length;
  return {
    scrolls: root.scrollWidth > root.clientWidth, wide, ground: style("body", "backgroundColor"),
    text: style("body", "color"), tick: style("#drift .xtick text", "fill"),
  };
})()"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(full_report(), encoding="utf-8")
    return path


def test_every_plot_is_drawn_and_the_console_is_clean(report: Path, browser: Browser) -> None:
    document = opened(browser, report.as_uri())
    assert browser.console == []
    parts = re.split(r'<div class="plot[^>]*id="', document)[1:]
    assert [part.partition('"')[0] for part in parts] == PLOTS
    for name, part in zip(PLOTS, parts, strict=True):
        drawn = re.findall(r'<path class="point"|<g class="point">', part.partition("<details>")[0])
        assert len(drawn) >= 2, name
    assert document.count('<img src="data:image/png') == 24


@pytest.mark.parametrize("seconds", [1, 2, 20])
def test_a_few_seconds_have_ticks_of_whole_seconds(tmp_path: Path, browser: Browser, seconds: int) -> None:
    lines = [capture_line(n, 0.95, time=START + timedelta(seconds=n % seconds)) for n in range(40)]
    path = tmp_path / "report.html"
    path.write_text(report_of(*lines), encoding="utf-8")
    document = opened(browser, path.as_uri())
    assert browser.console == []
    ticks = re.findall(r'data-unformatted="(\d\d:\d\d:[\d.]+)', document)
    assert len(ticks) >= 3  # of three plots over time
    assert all(re.fullmatch(r"08:00:\d\d", tick) for tick in ticks), ticks


def test_a_script_that_fails_would_be_noticed(report: Path, browser: Browser) -> None:
    damaged = report.with_name("damaged.html")
    damaged.write_text(report.read_text(encoding="utf-8").replace("Plotly.newPlot(", "Plotly.noPlot("))
    opened(browser, damaged.as_uri())
    assert browser.console != []


def test_it_fits_a_phone_and_follows_the_colour_scheme(report: Path, browser: Browser) -> None:
    """From the start, and when the screen or the scheme changes."""
    browser.look(width=360, scheme="dark")
    browser.open(report.as_uri())
    for width, scheme in ((360, "dark"), (768, "dark"), (768, "light"), (360, "light")):
        browser.look(width=width, scheme=scheme)
        browser.evaluate(NEXT_FRAMES)
        found = browser.evaluate(FOUND)
        assert (found["scrolls"], found["wide"]) == (False, 0), (width, scheme)
        ground, text, tick = (sum(map(int, re.findall(r"\d+", found[name])[:3])) for name in ("ground", "text", "tick"))
        assert (ground < 150, text > 600, tick > 600) == ((scheme == "dark"),) * 3, (width, scheme)
    assert browser.console == []
