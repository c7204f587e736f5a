"""`python -m ops captures`: the endpoint's captured requests and responses."""

import csv
import heapq
import json
import string
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_prep.options import EnvironmentName
from data_prep.terminal import confidence_text, print_whole, visible
from lambda_src.monitoring.captures import Capture
from lambda_src.monitoring.ground_truth import GroundTruth
from lambda_src.shared.baseline import Baseline
from lambda_src.shared.predictions import is_accepted
from ops import page
from ops.baseline_source import baseline_in, baseline_of
from ops.capture_report import capture_page
from ops.capture_source import CaptureSource
from ops.summary import Summary
from ops.truth_source import truth_of
from ops.window import Until, Window, since_option
from stacks.config import load_environment

_ROWS = 20
_RECENT = "24h"
_LETTERS = string.ascii_uppercase


def captures(
    *,
    env: EnvironmentName = "dev",
    folder: Annotated[
        Path | None, typer.Option(help="Read a .jsonl file, or those below a folder, instead of the bucket's.")
    ] = None,
    since: Annotated[str | None, since_option(_RECENT)] = None,
    until: Until = "now",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per capture on standard output.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots to this file.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Baseline to compare with in the report; default is the environment's.")
    ] = None,
    ground_truth: Annotated[
        Path | None, typer.Option(help="Labels below a folder, for the report, instead of the bucket's.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values on standard output.")] = False,
) -> None:
    """Show the requests and responses that data capture recorded."""
    config = load_environment(env)
    # The environment may not exist for captures in a folder
    is_offline = folder is not None
    window = Window.parse(since, until, default=None if is_offline else _RECENT)
    source = CaptureSource(config, window, folder)
    if html:
        write_report(
            source,
            html,
            threshold=config.confidence_threshold,
            baseline=baseline_in(baseline, config) if baseline else None if is_offline else baseline_of(config),
            truth=truth_of(config, window, source.parse_errors, ground_truth)
            if ground_truth or not is_offline
            else None,
        )
    elif as_json:
        write_json(source, config.confidence_threshold)
    elif as_csv:
        write_csv(source, config.confidence_threshold)
    else:
        show_table(source, config.confidence_threshold)
    source.report_skipped()


def write_report(
    source: CaptureSource, target: Path, *, threshold: float, baseline: Baseline | None, truth: GroundTruth | None
) -> None:
    """Write the HTML report."""
    config = source.config
    summary = Summary(
        classes=config.classes,
        threshold=threshold,
        drift_bound=config.monitoring.drift_bound,
        baseline=baseline,
        truth=truth,
        origins=source.origins,
    )
    summary.add(source)
    page.write(capture_page(config, source.window, summary, source.parse_errors), target)
    typer.echo(f"Report of {summary.requests:,} requests: {target}")


def write_json(source: CaptureSource, threshold: float) -> None:
    for capture in source:
        image = source.origins.image_of(capture)
        record = {
            "time": capture.time.isoformat(),
            "event_id": capture.event_id,
            "inference_id": capture.inference_id,
            "s3_key": image.key if image else None,
            "s3_version_id": image.version_id if image else None,
            "model": source.origins.model_of(capture) or None,
            "label": capture.label,
            "confidence": capture.confidence,
            "probabilities": capture.probabilities,
            "accepted": is_accepted(capture.confidence, threshold),
        }
        sys.stdout.write(f"{json.dumps(record)}\n")


def write_csv(source: CaptureSource, threshold: float) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = ("time", "event_id", "inference_id", "s3_key", "s3_version_id", "model", "label", "confidence", "accepted")
    writer.writerow([*names, *source.config.classes])
    for capture in source:
        image = source.origins.image_of(capture)
        writer.writerow(
            [
                capture.time.isoformat(),
                capture.event_id,
                capture.inference_id or "",
                image.key if image else "",
                image.version_id if image else "",
                source.origins.model_of(capture),
                capture.label,
                capture.confidence,
                str(is_accepted(capture.confidence, threshold)).lower(),
                *capture.probabilities,
            ]
        )


@dataclass
class _Totals:
    labels: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    confidence: float = 0.0
    accepted: int = 0
    first: datetime | None = None


def show_table(source: CaptureSource, threshold: float) -> None:
    """A table of the latest captures, and the totals of all."""
    last: list[tuple[datetime, int, Capture]] = []  # a heap: the files are in any order
    totals = _Totals()
    for number, capture in enumerate(source):
        (heapq.heappush if number < _ROWS else heapq.heappushpop)(last, (capture.time, number, capture))
        totals.labels[capture.label] += 1
        totals.models[source.origins.model_of(capture)] += 1
        totals.confidence += capture.confidence
        totals.accepted += is_accepted(capture.confidence, threshold)
        totals.first = min(totals.first or capture.time, capture.time)
    console = Console(highlight=False)
    count = totals.labels.total()
    if not totals.first:
        title = source.name if source.window == Window() else f"{source.name}, {source.window}"
        console.print(f"{title}: no captures", soft_wrap=True)
        return
    # A letter for each model, because a job's name takes half a line
    letters = dict(zip(sorted(totals.models.keys() - {""}), _LETTERS, strict=False))
    table = Table("time (UTC)", "image", "label", "confidence", "", box=None, header_style="bold", pad_edge=False)
    table.columns[3].justify = "right"
    if letters:
        table.add_column("model")
    for time, _, capture in sorted(last):
        accepted = is_accepted(capture.confidence, threshold)
        image = source.origins.image_of(capture)
        table.add_row(
            f"{time:%Y-%m-%d %H:%M:%S}",
            Text(visible(image.key if image else f"event {capture.event_id}")),
            capture.label,
            confidence_text(capture.confidence),
            "[green]accepted[/]" if accepted else f"[yellow]under {threshold}[/]",
            *([letters.get(source.origins.model_of(capture), "")] if letters else []),
        )
    if count > len(last):
        console.print(f"The last {len(last)} of {count:,} captures:\n")
    print_whole(console, table)
    mix = ", ".join(f"{label} {number / count:.1%}" for label, number in totals.labels.most_common())
    window = source.window.within(totals.first, max(last)[0])
    console.print(f"\n{source.name}, {window}: {count:,} captures", soft_wrap=True)
    console.print(f"{mix}; mean confidence {confidence_text(totals.confidence / count)}", soft_wrap=True)
    console.print(f"under {threshold}: {count - totals.accepted:,} ({1 - totals.accepted / count:.1%})", soft_wrap=True)
    for model, letter in letters.items():
        console.print(f"model {letter}: {visible(model)}, {totals.models[model]:,} captures", soft_wrap=True)
