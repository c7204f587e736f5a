"""Prints results and notes to a terminal, and makes untrusted text, such as keys, causes and captured ids, safe."""

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
    """Print the result of a command, as JSON or as text."""
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2) if as_json else text)


def note(text: str) -> None:
    """Print a message that is not part of the result, on stderr."""
    typer.echo(text, err=True)


def warn(texts: Iterable[str]) -> None:
    for text in texts:
        note(f"Warning: {text}")


def visible(text: str) -> str:
    """The text on one line, with line breaks, control, bidirectional and invisible characters replaced by their codes.

    Escape sequences move the cursor or change colours, and bidirectional characters change the order of the text.
    rich's markup is not escaped: pass rich a `Text`, or `markup=False`.
    """
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def confidence_text(confidence: float) -> str:
    """The confidence with three decimals, or as many more as distinguish it from 1."""
    missing = 1 - confidence
    return f"{confidence:.{max(3, min(9, math.ceil(-math.log10(missing)))) if missing > 0 else 3}f}"


def print_whole(console: Console, table: Table) -> None:
    """Print a table without cutting or folding its cells, so that ARNs and keys can be copied.

    A narrower terminal breaks the lines. They have no trailing spaces, so no blank lines follow.
    """
    width = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    for segments in console.render_lines(table, console.options.update(width=width)):
        line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
        line.rstrip()
        console.print(line, soft_wrap=True)
