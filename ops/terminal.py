"""Text on its way to a terminal: what others wrote, such as keys, causes and captured ids, and columns of it."""

import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text


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


def print_columns(console: Console, rows: Iterable[Sequence[str | Text]], *, right: tuple[int, ...] = ()) -> None:
    """Print columns as wide as their widest cells, so that none is cut or wrapped within an ARN or a key.

    A terminal that is narrower breaks the line, and still copies the cell whole. right: columns to align there.
    """
    table = [[cell.copy() if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            cell.align("right" if number in right else "left", width)
        line = Text("  ").join(row)
        line.rstrip()
        console.print(line, soft_wrap=True)
