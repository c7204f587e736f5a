import io
import json
import random
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lambda_src.monitoring.captures import ParseErrors, read_captures
from lambda_src.monitoring.ground_truth import GroundTruth, Label
from lambda_src.shared.baseline import Baseline
from ops.capture_report import _bin_names, capture_page, thumbnail
from ops.page import render
from ops.summary import Summary
from ops.window import Window
from stacks.config import EnvironmentConfig
from stacks.shared.cifar_100 import CLASS_NAMES
from tests.unit.ops.conftest import START, Writer, capture_line, run

CONFIG = EnvironmentConfig(name="dev")
WINDOW = Window(START, START + timedelta(hours=4))
PLOTS = ["confidence-over-time", "confidence-distribution", "drift", "class-mix", "under-threshold", "accuracy"]


def png(colour: tuple[int, int, int] = (200, 30, 30), size: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), colour, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def baseline() -> Baseline:
    rng = random.Random(1)
    answers = [(c, 1 - c) if n % 2 else (1 - c, c) for n, c in enumerate(rng.uniform(0.5, 1) for _ in range(400))]
    return Baseline.of(answers, classes=CONFIG.classes, artifact_uri="s3://b/m")


def report(*lines: bytes, base: Baseline | None = None, truth: GroundTruth | None = None) -> str:
    parse_errors = ParseErrors()
    summary = Summary(classes=CONFIG.classes, threshold=0.9, drift_bound=0.25, baseline=base, truth=truth)
    summary.add(read_captures(lines, classes=CONFIG.classes, parse_errors=parse_errors, name="f"))
    return render(capture_page(CONFIG, WINDOW, summary, parse_errors))


def full_report() -> str:
    """A report in which nothing is missing: traffic that drifts half way, a baseline, and some true classes."""
    rng = random.Random(2)
    lines = [
        capture_line(n, rng.uniform(0.5, 1 if n < 400 else 0.8), time=START + timedelta(seconds=15 * n), image=png())
        for n in range(800)
    ]
    truth = GroundTruth()
    truth.add(Label(int(n % 5 == 0) ^ n % 2, f"inference-{n}", None) for n in range(0, 800, 3))
    return report(*lines, b"{malformed", base=baseline(), truth=truth)


class Elements(HTMLParser):
    """Every element's name and attributes, and the text of the headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def html() -> str:
    return full_report()


def test_every_plot_has_a_heading_a_description_and_a_table(html: str) -> None:
    elements = Elements(html)
    plots = [div for div in elements.all("div") if div.get("role") == "img"]
    assert [plot["id"] for plot in plots] == PLOTS
    assert all(len(plot["aria-label"] or "") > 40 for plot in plots)
    assert len(elements.all("table")) == len(PLOTS) + 1  # and one of the pictures
    assert {section.get("aria-labelledby") for section in elements.all("section")} >= {f"heading-{p}" for p in PLOTS}
    assert len(elements.all("h1")) == 1
    assert elements.all("html") == [{"lang": "en"}]


def test_it_names_the_environment_and_the_time(html: str) -> None:
    assert "<title>Scones Unlimited dev: predictions of the endpoint, 2026-11-25 08:00 to 2026-11-25 12:00 UTC" in html


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    elements = Elements(html)
    sources = [a[name] for _, a in elements.found for name in ("src", "href", "action") if a.get(name)]
    assert sources
    assert all(str(source).startswith("data:") for source in sources)
    policy = next(m["content"] for m in elements.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'")
    assert html.count("plotly.js v") == 1


def plots_of(html: str) -> dict[str, Any]:
    return {
        name: json.loads(content.replace("<\\/", "</"))
        for name, content in re.findall(r'data-plot="([a-z-]+)">(.*?)</script>', html, flags=re.DOTALL)
    }


def test_the_plots_hold_the_numbers(html: str) -> None:
    plots = plots_of(html)
    over_time = plots["confidence-over-time"]["data"]
    assert [trace["name"] for trace in over_time] == ["bicycle", "motorcycle", "median of 5 min"]
    assert sum(len(trace["x"]) for trace in over_time[:2]) == 800
    mix = plots["class-mix"]["data"]
    assert [a + b for a, b in zip(mix[0]["y"], mix[1]["y"], strict=True)] == pytest.approx([1] * len(mix[0]["y"]))
    assert max(plots["drift"]["data"][0]["y"]) > 0.25
    assert sum(plots["confidence-distribution"]["data"][0]["x"]) == pytest.approx(1)
    assert "213 of 267" in html  # every fifth label differs from the answer


def test_times_carry_the_year_where_there_is_more_than_one() -> None:
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    shown = report(*[capture_line(n, 0.6, time=new_year + timedelta(hours=n - 1)) for n in range(3)])
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", shown.replace("<wbr>", ""))
    assert len(captions) == 3
    assert any("2025-12-31 23:00:00" in caption for caption in captions)
    assert any("2026-01-01 00:00:00" in caption for caption in captions)


def test_the_median_of_a_second_is_plotted_over_its_points_and_all_plots_span_the_same_time() -> None:
    plots = plots_of(report(*[capture_line(n, 0.95, time=START + timedelta(seconds=n % 5)) for n in range(20)]))
    bicycles, _, medians = plots["confidence-over-time"]["data"]
    assert medians["x"] == sorted(set(bicycles["x"]))
    ranges = [plots[name]["layout"]["xaxis"]["range"] for name in ("confidence-over-time", "class-mix")]
    assert ranges[0] == ranges[1]
    assert ranges[0][0] < medians["x"][0]
    assert medians["x"][-1] < ranges[0][1]


def test_confidences_near_1_are_distinguished() -> None:
    shown = report(*[capture_line(n, 0.99997) for n in range(30)])
    assert '<dd class="value">0.99997</dd>' in shown
    assert "mean 0.99997" in shown
    assert "Most lie at from 0.999" in shown


@pytest.mark.parametrize(
    ("edges", "names"),
    [
        ((0.9,), ["under 0.9", "0.9 and above"]),
        ((0.7567, 0.905, 0.99958), ["under 0.76", "0.76 to 0.905", "0.905 to 0.99958", "from 0.99958"]),
        # Of a confident model
        ((0.9999, 0.999968, 0.9999683), ["under 0.9999", "0.9999 to 0.999968", "0.999968 to 0.9999683", None]),
    ],
)
def test_bins_of_confidence_have_different_names(edges: tuple[float, ...], names: list[str | None]) -> None:
    found = _bin_names(edges)
    assert len(set(found)) == len(edges) + 1
    assert all(name in {None, shown} for name, shown in zip(names, found, strict=True))


def test_parse_errors_are_shown(html: str) -> None:
    assert "1 malformed lines were skipped, such as f, line 801" in html


def test_the_least_confident_images_are_shown_with_what_was_said_of_them(html: str) -> None:
    images = Elements(html).all("img")
    assert len(images) == 24
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)
    assert all(str(image["alt"]).startswith("Captured image: ") for image in images)


def test_untrusted_text_stays_text() -> None:
    line = json.loads(capture_line(0, 0.6))
    line["eventMetadata"]["eventId"] = "</script><script>alert(1)</script>"
    shown = report(json.dumps(line).encode(), b"<img src=x onerror=alert(1)>")
    assert "<script>alert(1)" not in shown
    assert "<img src=x" not in shown
    assert "&lt;/script&gt;" in shown


def test_without_baseline_and_truth_it_reports_what_is_missing() -> None:
    shown = report(*[capture_line(n, 0.95) for n in range(20)])
    assert "There is no baseline to compare with" in shown
    assert "No true classes are known" in shown


def test_a_window_without_requests() -> None:
    shown = report()
    assert "Data capture kept no request from 2026-11-25 08:00 to 2026-11-25 12:00 UTC" in shown


def test_many_classes_are_shown_as_the_most_frequent_and_the_others() -> None:
    config = EnvironmentConfig(name="dev", classes=CLASS_NAMES[:20])
    summary = Summary(classes=config.classes, threshold=0.5, drift_bound=0.25)
    lines = []
    for n in range(40):
        record = json.loads(capture_line(n, 0.9))
        answer = [0.0] * 20
        answer[n % 20] = 1.0
        record["captureData"]["endpointOutput"]["data"] = json.dumps(answer)
        lines.append(json.dumps(record).encode())
    summary.add(read_captures(lines, classes=config.classes, parse_errors=ParseErrors(), name="f"))
    shown = render(capture_page(config, WINDOW, summary, ParseErrors()))
    assert "other classes 75%" in shown


@pytest.mark.parametrize("data", [None, b"", b"pixels", png()[:60], b"<svg onload='alert(1)'/>", png()[:-20]])
def test_an_object_that_is_not_an_image_is_not_shown(data: bytes | None) -> None:
    assert thumbnail(data) is None


def test_a_large_image_is_made_small() -> None:
    small = thumbnail(png(size=1000))
    assert small
    assert Image.open(io.BytesIO(small)).size == (160, 160)


def test_the_command_writes_the_report(
    write_captures: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_captures(*[capture_line(n, 0.95, image=png()) for n in range(30)])
    labels = tmp_path / "truth"
    labels.mkdir()
    (labels / "a.jsonl").write_text(
        json.dumps({"groundTruthData": {"data": "bicycle"}, "eventMetadata": {"eventId": "event-1"}})
    )
    (tmp_path / "baseline.json").write_text(baseline().to_json())
    target = tmp_path / "out/report.html"
    ended = run(
        "captures", "--folder", folder, "--since", "2026-11-25T08:00", "--until", "2026-11-25T12:00", "--html", target,
        "--baseline", tmp_path / "baseline.json", "--ground-truth", labels,
    )  # fmt: skip
    assert ended == 0
    assert capsys.readouterr().out == f"Report of 30 requests: {target}\n"
    shown = target.read_text(encoding="utf-8")
    assert "0 of 1 labelled" in shown
    assert "baseline (400)" in shown


def test_a_baseline_that_is_none_is_an_error(
    write_captures: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_captures(capture_line(0, 0.95))
    (tmp_path / "baseline.json").write_text("{}")
    target = tmp_path / "report.html"
    assert run("captures", "--folder", folder, "--html", target, "--baseline", tmp_path / "baseline.json") == 1
    assert "baseline.json: not a baseline" in capsys.readouterr().err
