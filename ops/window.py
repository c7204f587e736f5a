"""The time window of a command, from its options `--since` and `--until`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FIRST, _LAST = (bound.replace(tzinfo=UTC) for bound in (datetime.min, datetime.max))


def since_option(default: str) -> Any:
    """The option `--since` of a command that looks at the last `default`, or at all of a folder."""
    return typer.Option(
        help="Beginning of the time window: an age (30m, 24h, 7d) or a time (2026-11-25T08:00). "
        f"Default: {default}, or all of a --folder.",
        show_default=False,
    )


Until = Annotated[str, typer.Option(help="End of the time window, in the same way; default is now.")]


@dataclass(frozen=True)
class Window:
    """since <= time < until, both in UTC; by default all of time."""

    since: datetime = _FIRST
    until: datetime = _LAST

    @classmethod
    def parse(cls, since: str | None, until: str, *, default: str | None) -> "Window":
        """Without `since`, the window begins at the `default`; without that, nothing lies outside.

        Raises typer.BadParameter.
        """
        now = datetime.now(UTC)
        since = since or default
        if since is None and until == "now":
            return cls()
        # Captures are stamped with whole seconds: the one of this very second belongs to the window that ends now
        end = parse_time(until, now) if until != "now" else now + timedelta(seconds=1)
        window = cls(parse_time(since, now) if since else _FIRST, end)
        if window.since >= window.until:
            raise typer.BadParameter(f"the time window ends at {window.until}, before it begins at {window.since}")
        return window

    def within(self, first: datetime, last: datetime) -> "Window":
        """Where the window has no bound, that of what was found in it."""
        return Window(first if self.since == _FIRST else self.since, last if self.until == _LAST else self.until)

    def __str__(self) -> str:
        begin = "the beginning" if self.since == _FIRST else f"{self.since:%Y-%m-%d %H:%M}"
        end = "now" if self.until == _LAST else f"{self.until:%Y-%m-%d %H:%M} UTC"
        return f"{begin} to {end}"


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
