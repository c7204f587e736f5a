"""The command `diff`: reports what a change does to the cloud, most severe first, with every value on request."""

import html
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from data_prep.target import current_target
from data_prep.terminal import visible
from ops import templates
from ops.cdk import App
from ops.diff_report import DiffReport, diff_report, excerpt, is_code
from ops.errors import OpsError
from ops.templates import Assembly
from stacks.config import load_environment

CHANGED, ENDANGERED = 2, 3
STATUS = "0 no change, 2 a change, 3 state lost or replaced, 1 not compared"
WIDTH = 100
FEW_ROWS = 4  # of a section in the summary
# GitHub refuses a comment of more than 65,536 characters
MARKDOWN_LIMIT = 60_000

_STYLES = {"Lost": "bold red", "Security": "yellow", "Price": "cyan", "Resources": "magenta", "Behaviour": ""}
_SIGNS = {"create": "+", "delete": "-", "orphan": "-"}


def markdown(found: DiffReport, *, against: str) -> str:
    """The report as a GitHub comment. Text in <pre> has no markup but HTML, which is escaped."""
    room = MARKDOWN_LIMIT
    blocks = []
    for lines in (_lines(Text(visible(f"Compared with {against}")), summary(found)), list(details(found))):
        escaped = [html.escape(line, quote=False) for line in lines]
        fitting = []
        while escaped and len(escaped[0]) < room:
            room -= len(escaped[0]) + 1
            fitting.append(escaped.pop(0))
        rest = f"\n… and {len(escaped):,} more lines: `make diff` shows the whole report" if escaped else ""
        blocks.append("<pre>\n" + "\n".join(fitting) + rest + "\n</pre>")
    warning = "⚠️ " if found.lost else ""
    shown_details = f"\n\n<details><summary>Every value</summary>\n\n{blocks[1]}\n\n</details>" if found.changes else ""
    return f"### {warning}{verdict(found)}\n\n{blocks[0]}{shown_details}\n"


def verdict(found: DiffReport) -> str:
    """A summary of numbers and fixed words, without names from the change."""
    if not found.changes:
        return "Changes nothing in the cloud"
    text = f"Changes {len(found.changes)} resource{'s' * (len(found.changes) > 1)}"
    return text + (f"; loses or replaces {found.lost} with state" if found.lost else "")


def summary(found: DiffReport) -> Table:
    """All lost state, and at most FEW_ROWS sentences of each other section."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for section, style in _STYLES.items():
        rows = [row for row in found.rows if row.section == section]
        few = rows if section == "Lost" else [row for row in rows if not row.is_detail][:FEW_ROWS]
        cells = [(", ".join(row.environments), row.text) for row in few]
        if len(rows) > len(few):
            cells.append(("", f"… and {len(rows) - len(few)} more, see --details"))
        for index, (environments, text) in enumerate(cells):
            titles = ("" if index else section, environments, text)
            table.add_row(*(Text(visible(cell), style) for cell in titles))
    return table


def _lines(*parts: RenderableType) -> list[str]:
    file = StringIO()
    Console(file=file, width=WIDTH, color_system=None).print(*parts, sep="\n")
    return [line.rstrip() for line in file.getvalue().splitlines()]


def details(found: DiffReport) -> Iterator[str]:
    """Every permission and every value, by stack."""
    for row in found.rows:
        if row.section == "Security":
            yield visible(f"{', '.join(row.environments)}: {row.text}")
    stack = ""
    for change in found.changes:
        resource = change.resource
        if resource.stack != stack:
            stack = resource.stack
            yield from ("", visible(stack))
        fate = "" if change.impact == "update" else f": {change.impact}"
        cause = f" ({change.cause})" if change.cause else ""
        yield visible(f"{_SIGNS.get(change.impact, '~')} {resource.type} {resource.name}{fate}{cause}")
        for difference in change.differences:
            value = "" if is_code(difference) else f": {excerpt(difference)}"
            yield visible(f"    {'.'.join(difference.path)}{value}")


def diff(
    *,
    env: Annotated[
        str | None, typer.Option("--env", help="Compare this environment with what is deployed; needs credentials.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Commit to compare with. Default: the one at which this branch left the main branch."),
    ] = None,
    detailed: Annotated[bool, typer.Option("--details", help="Also show every permission and every value.")] = False,
    markdown_file: Annotated[
        Path | None,
        typer.Option("--markdown", help="Also write the report to this file, as a GitHub comment."),
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help=f"End with {STATUS}.")] = False,
    app: App = None,
) -> None:
    """Show what a change does to the cloud: what is lost, permissions, behaviour, price.

    The exit status is 0 if the comparison worked and 1 if not; --exit-code says more.
    """
    if env and base:
        raise OpsError("--env compares with what is deployed, --base with a commit: give one of them")
    with Console(stderr=True).status("Synthesizing"):
        before, after, against = _deployed_and_synthesized(env, app) if env else _both_synthesized(base, app)
    found = diff_report(before, after)
    status = ENDANGERED if found.lost else CHANGED if found.changes else 0
    hint = ". Every value: --details, or make diff DETAILS=1" if found.changes else ""
    head = Group(
        Text(visible(f"Compared with {against}") + "\n", "dim"),
        *([summary(found)] if found.rows else []),
        Text(f"\n{verdict(found)}{hint}" if found.rows else verdict(found), "bold"),
        Text(f"Exit status with --exit-code: {status} ({STATUS})", "dim"),
    )
    body = [Text("\n".join(details(found)) + "\n")] if detailed else []
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    # A terminal shows the last lines, so the summary comes last
    for part in [*body, head] if console.is_terminal else [head, *body]:
        console.print(part, soft_wrap=part is not head)
    if markdown_file:
        markdown_file.parent.mkdir(parents=True, exist_ok=True)
        markdown_file.write_text(markdown(found, against=against), encoding="utf-8")
    if exit_code:
        raise typer.Exit(status)


def _both_synthesized(base: str | None, app: Path | None) -> tuple[Assembly, Assembly, str]:
    revision = base or templates.main_branch_commit()
    with ThreadPoolExecutor() as pool:
        before = pool.submit(templates.synthesize_commit, revision)
        after = templates.read_assembly(app) if app else templates.synthesize()
    return before.result(), after, base or f"{revision[:10]}, where this branch left main"


def _deployed_and_synthesized(environment: str, app: Path | None) -> tuple[Assembly, Assembly, str]:
    load_environment(environment)  # raises an error that lists the environments
    target = current_target()
    typer.echo(f"Comparing with environment {environment} in {target}", err=True)
    after = templates.read_assembly(app).only(environment) if app else templates.synthesize(only=environment)
    before = replace(after, templates=templates.deployed(after.stack_names))
    return before, after, f"environment {environment} in {target}"
