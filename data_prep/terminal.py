"""Text on its way to a terminal: results and notes, and what others wrote, such as keys, causes and captured ids."""

import json
import math
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDEST = 10_000


def show(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print the result of a command, for machines or for people."""
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2) if as_json else text)


def note(text: str) -> None:
    """Print what is not the result, on stderr."""
    typer.echo(text, err=True)


def warn(texts: Iterable[str]) -> None:
    for text in texts:
        note(f"Warning: {text}")


def visible(text: str) -> str:
    """One line that hides nothing: line breaks, control, bidirectional and invisible characters as their codes.

    An escape sequence moves the cursor or colours what follows, and a bidirectional character changes the order in
    which a line is read. rich's own markup stays: give rich a `Text`, or `markup=False`.
    """
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def confidence_text(confidence: float) -> str:
    """With three decimals, or as many more as it takes to tell it from 1."""
    missing = 1 - confidence
    return f"{confidence:.{max(3, min(9, math.ceil(-math.log10(missing)))) if missing > 0 else 3}f}"


def print_whole(console: Console, table: Table) -> None:
    """Print a table without cutting or folding a cell: an ARN or a key is there to be copied.

    A terminal that is narrower breaks the lines, which end with their text, so that no blank ones follow.
    """
    width = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    for segments in console.render_lines(table, console.options.update(width=width)):
        line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
        line.rstrip()
        console.print(line, soft_wrap=True)
