"""The stretch of time that a command looks at."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Since = Annotated[
    str, typer.Option(help="Beginning of the time window: an age (30m, 24h, 7d) or a time (2026-11-25T08:00).")
]
Until = Annotated[str, typer.Option(help="End of the time window, in the same way; default is now.")]


@dataclass(frozen=True)
class Window:
    """since <= time < until, both in UTC."""

    since: datetime
    until: datetime

    @classmethod
    def parse(cls, since: str, until: str) -> "Window":
        """Raises typer.BadParameter."""
        now = datetime.now(UTC)
        # Captures are stamped with whole seconds: the one of this very second belongs to the window that ends now
        window = cls(parse_time(since, now), parse_time(until, now) if until != "now" else now + timedelta(seconds=1))
        if window.since >= window.until:
            raise typer.BadParameter(f"the time window ends at {window.until}, before it begins at {window.since}")
        return window

    def __str__(self) -> str:
        return f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC"


def parse_time(text: str, now: datetime) -> datetime:
    """An age before `now`, or an ISO 8601 time, which is in UTC unless it says otherwise."""
    if age := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is neither an age such as 24h nor a time such as 2026-11-25T08:00"
        ) from None
