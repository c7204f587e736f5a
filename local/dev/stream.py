"""Prints one coloured line for each event: time, source, text."""

import time
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from data_prep.terminal import visible
from local.dev.activity import LogLine, Outcome

_LISTED_IMAGES = 8
_NAME_WIDTH = 22
_COLOURS = ("cyan", "magenta", "blue", "bright_cyan", "bright_magenta", "bright_blue")  # other colours have a meaning
_STYLES = {"SUCCEEDED": "green", "ACCEPTED": "green", "REJECTED": "yellow"}


class Stream:
    """Writes to a console, with a colour for each function and state machine."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str, style: str = "") -> None:
        self._line("dev", text, style, name_style="bold")

    def succeed(self, text: str, *, started: float) -> None:
        """`started` is of time.monotonic()."""
        self.say(f"✓ {text} ({time.monotonic() - started:.1f} s)", "green")

    def fail(self, text: str) -> None:
        """`text` may have several lines."""
        for line in f"✗ {text}".splitlines():
            self.say(line, "red")

    def log(self, line: LogLine) -> None:
        self._line(line.function, line.text, "dim" if line.is_routine else "", at=line.at)

    def outcome(self, outcome: Outcome) -> None:
        reason = f", {outcome.reason}" if outcome.reason else ""
        mark = "✓" if outcome.status == "SUCCEEDED" else "✗"
        text = f"{mark} {outcome.status} in {outcome.seconds:.1f} s{reason}"
        self._line(outcome.state_machine, text, _STYLES.get(outcome.status, "red"), at=outcome.at)
        for image in outcome.images[:_LISTED_IMAGES]:
            self._line("", describe_image(image), _STYLES.get(image["outcome"], "red"), at=outcome.at)
        if (left := len(outcome.images) - _LISTED_IMAGES) > 0:
            self._line("", f"and {left} more images", "dim", at=outcome.at)

    def _line(self, name: str, text: str, style: str, *, name_style: str = "", at: datetime | None = None) -> None:
        line = Text(f"{at or datetime.now():%H:%M:%S}  ", style="dim")
        line.append(f"{name:{_NAME_WIDTH}}  ", style=name_style or _COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)])
        line.append(visible(text.expandtabs()), style=style or "default")
        self._console.print(line, soft_wrap=True)


def describe_image(image: Mapping[str, Any]) -> str:
    """An outcome of the manifest as a line."""
    if image["outcome"] == "FAILED":
        return f"{image['s3_key']}: FAILED, {image['error']}: {image['cause']}"
    return f"{image['s3_key']}: {image['label']}, confidence {image['confidence']:.3f}, {image['outcome']}"
