"""`python -m ops captures`: what the endpoint was asked, and what it answered."""

import csv
import json
import sys
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lambda_src.captures import Capture, Damage
from lambda_src.drift import Baseline
from lambda_src.ground_truth import GroundTruth
from ops import page
from ops.baseline_source import baseline_in, baseline_of
from ops.capture_report import capture_page
from ops.capture_source import captures_of
from ops.summary import Summary
from ops.terminal import visible
from ops.truth_source import truth_of
from ops.window import Since, Until, Window
from stacks.config import EnvironmentConfig, load_environment

_ROWS = 20


def captures(
    *,
    env: Annotated[str, typer.Option("--env", help="Environment of cdk.json.")] = "dev",
    folder: Annotated[
        Path | None, typer.Option(help="Read .jsonl files below a folder instead of the environment's bucket.")
    ] = None,
    since: Since = "24h",
    until: Until = "now",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Confidence threshold; default is the environment's.")
    ] = None,
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
    """Show what data capture kept of the endpoint's requests and answers."""
    config = load_environment(env)
    bound = config.confidence_threshold if threshold is None else threshold
    window = Window.parse(since, until)
    damage = Damage()
    found = captures_of(config, window, damage, folder)
    if html:
        # Of captures in a folder the environment may know nothing
        is_offline = folder is not None
        write_report(
            found,
            html,
            config=config,
            window=window,
            threshold=bound,
            baseline=baseline_in(baseline, config) if baseline else None if is_offline else baseline_of(config),
            truth=truth_of(config, window, damage, ground_truth) if ground_truth or not is_offline else None,
            damage=damage,
        )
    elif as_json:
        write_json(found, bound)
    elif as_csv:
        write_csv(found, bound, config.classes)
    else:
        show_table(found, bound, title=f"{config.endpoint_name}, {window}")
    report_damage(damage)


def write_report(
    found: Iterable[Capture],
    target: Path,
    *,
    config: EnvironmentConfig,
    window: Window,
    threshold: float,
    baseline: Baseline | None,
    truth: GroundTruth | None,
    damage: Damage,
) -> None:
    """Write the HTML report."""
    summary = Summary(classes=config.classes, threshold=threshold, baseline=baseline, truth=truth)
    summary.add(found)
    page.write(capture_page(config, window, summary, damage), target)
    typer.echo(f"Report of {summary.requests:,} requests: {target}")


def report_damage(damage: Damage) -> None:
    """Say on stderr what could not be read."""
    if damage.count:
        typer.echo(f"Warning: {damage.count:,} damaged lines were skipped, such as", err=True)
        for example in damage.examples:
            typer.echo(f"  {visible(example)}", err=True)


def write_json(found: Iterable[Capture], threshold: float) -> None:
    for capture in found:
        record = {
            "time": capture.time.isoformat(),
            "event_id": capture.event_id,
            "inference_id": capture.inference_id,
            "label": capture.label,
            "confidence": capture.confidence,
            "probabilities": capture.probabilities,
            "accepted": capture.confidence >= threshold,
        }
        sys.stdout.write(f"{json.dumps(record)}\n")


def write_csv(found: Iterable[Capture], threshold: float, classes: tuple[str, ...]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["time", "event_id", "inference_id", "label", "confidence", "accepted", *classes])
    for capture in found:
        writer.writerow(
            [
                capture.time.isoformat(),
                capture.event_id,
                capture.inference_id or "",
                capture.label,
                capture.confidence,
                str(capture.confidence >= threshold).lower(),
                *capture.probabilities,
            ]
        )


@dataclass
class _Totals:
    labels: Counter[str] = field(default_factory=Counter)
    confidence: float = 0.0
    accepted: int = 0


def show_table(found: Iterable[Capture], threshold: float, *, title: str) -> None:
    """The last captures in a table, and the sums of all."""
    last: deque[Capture] = deque(maxlen=_ROWS)
    totals = _Totals()
    for capture in found:
        last.append(capture)
        totals.labels[capture.label] += 1
        totals.confidence += capture.confidence
        totals.accepted += capture.confidence >= threshold
    console = Console(highlight=False)
    count = totals.labels.total()
    if not count:
        console.print(f"{title}: no captures")
        return
    table = Table("time (UTC)", "event id", "label", "confidence", "", box=None, header_style="bold", pad_edge=False)
    table.columns[3].justify = "right"
    for capture in last:
        is_accepted = capture.confidence >= threshold
        table.add_row(
            f"{capture.time:%Y-%m-%d %H:%M:%S}",
            Text(visible(capture.event_id)),
            capture.label,
            f"{capture.confidence:.3f}",
            "[green]accepted[/]" if is_accepted else f"[yellow]under {threshold}[/]",
        )
    if count > len(last):
        console.print(f"The last {len(last)} of {count:,} captures:\n")
    console.print(table)
    mix = ", ".join(f"{label} {number / count:.1%}" for label, number in totals.labels.most_common())
    console.print(f"\n{title}: {count:,} captures", soft_wrap=True)
    console.print(f"{mix}; mean confidence {totals.confidence / count:.3f}", soft_wrap=True)
    console.print(f"under {threshold}: {count - totals.accepted:,} ({1 - totals.accepted / count:.1%})", soft_wrap=True)
