"""The report as a browser shows it: from disk, without network, light and dark, on a desk and on a phone."""

import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.ops.conftest import START, capture_line
from tests.unit.ops.test_capture_report import PLOTS, full_report
from tests.unit.ops.test_capture_report import report as report_of

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium, Chrome or Edge is installed")

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


def opened(page: Path, *options: str, url: str = "") -> tuple[str, list[str]]:
    """The document after its scripts ran, and what they wrote to the console.

    url: where the page is if not in its file, beside which the browser keeps its profile.
    """
    assert BROWSER
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses a sandbox to root
    ended = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            *root,
            f"--user-data-dir={page.parent / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--virtual-time-budget=8000",
            "--window-size=1280,1000",
            *options,
            "--dump-dom",
            url or page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return ended.stdout, [line for line in ended.stderr.splitlines() if ":CONSOLE" in line]


def test_every_plot_is_drawn_and_the_console_is_clean(report: Path) -> None:
    document, console = opened(report)
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
    document, console = opened(path)
    assert console == []
    ticks = re.findall(r'data-unformatted="(\d\d:\d\d:[\d.]+)', document)
    assert len(ticks) >= 3  # of three plots over time
    assert all(re.fullmatch(r"08:00:\d\d", tick) for tick in ticks), ticks


def test_a_script_that_fails_would_be_noticed(report: Path) -> None:
    damaged = report.with_name("damaged.html")
    damaged.write_text(report.read_text(encoding="utf-8").replace("Plotly.newPlot(", "Plotly.noPlot("))
    assert opened(damaged)[1] != []


@pytest.mark.parametrize("width", [360, 768])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_fits_a_phone_and_follows_the_colour_scheme(report: Path, width: int, scheme: str) -> None:
    probe = report.with_name("probe.html")
    probe.write_text(PROBE % width)
    document, console = opened(probe, f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}")
    assert console == []
    found = re.search(r'<output id="found">(.*?)</output>', document)
    assert found
    assert '"scrolls":false,"wide":0' in found[1]
    ground, text, tick = (sum(map(int, channels)) for channels in re.findall(r"rgb\((\d+), (\d+), (\d+)\)", found[1]))
    assert (ground < 150, text > 600, tick > 600) == ((scheme == "dark"),) * 3
