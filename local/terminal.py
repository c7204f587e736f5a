"""Prints the output of the commands: lines, and stages with their duration."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from stacks.config import PROJECT_ROOT

console = Console(highlight=False)


def say(line: str) -> None:
    console.print(line, soft_wrap=True)


@contextlib.contextmanager
def stage(name: str, *, is_silent: bool = True) -> Iterator[None]:
    """One line with the time that the stage took; on a terminal, a spinner during a silent one."""
    started = time.monotonic()
    with console.status(name) if is_silent else contextlib.nullcontext():
        yield
    say(f"[green]✓[/] {name} [dim]{time.monotonic() - started:.1f} s[/]")


def short(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT))
