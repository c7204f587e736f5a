"""Parses an endpoint's weekly hours, such as `mon-fri 08:00-18:00 Europe/Berlin`, into schedules for EventBridge
Scheduler.

A schedule has a time zone, and follows its daylight saving time:
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import re
from dataclasses import dataclass
from functools import cache
from zoneinfo import available_timezones

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOURS_OF_A_WEEK = 7 * 24.0

_MINUTES_OF_A_DAY = 24 * 60
_FORM = re.compile(r"(?P<days>\S+) (?P<start>\S+)-(?P<end>\S+) (?P<zone>\S+)")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True)
class WeeklyHours:
    """On these days from `start` to `end`, in minutes since midnight. An end not after the start is on the next day."""

    days: tuple[int, ...]  # 0 is Monday
    start: int
    end: int
    time_zone: str

    @classmethod
    def parse(cls, text: str) -> "WeeklyHours":
        """Parse the configured text; raises ValueError, which says what is wrong."""
        match = _FORM.fullmatch(text)
        if not match:
            raise ValueError('must be days, times and a time zone, such as "mon-fri 08:00-18:00 Europe/Berlin"')
        days = _days(match["days"])
        start, end = _minutes(match["start"]), _minutes(match["end"])
        if start == end and len(days) == len(DAYS):
            raise ValueError("is the whole week: remove this key for an endpoint that always runs")
        if match["zone"] not in _time_zones():
            raise ValueError(
                f"{match['zone']!r} is not in the IANA time zone database; it has names such as Europe/Berlin and UTC"
            )
        return cls(days, start, end, match["zone"])

    @property
    def hours_a_week(self) -> float:
        """Hours in a week in which daylight saving time does not begin or end."""
        return len(self.days) * (self._end_after_start - self.start) / 60

    @property
    def starts(self) -> str:
        """The schedule expression of the times at which the endpoint must start."""
        return _cron(self.days, self.start)

    @property
    def ends(self) -> str:
        """The schedule expression of the times at which the endpoint may stop, except where the next hours begin."""
        days_later = self._end_after_start // _MINUTES_OF_A_DAY
        days = [(day + days_later) % len(DAYS) for day in self.days]
        if self.start == self.end % _MINUTES_OF_A_DAY:
            days = [day for day in days if day not in self.days]
        return _cron(tuple(sorted(days)), self.end)

    @property
    def _end_after_start(self) -> int:
        return self.end if self.end > self.start else self.end + _MINUTES_OF_A_DAY


def hours_a_week(hours: str | None) -> float:
    """Hours per week in which an endpoint with these weekly hours runs; 168 without weekly hours."""
    return WeeklyHours.parse(hours).hours_a_week if hours else HOURS_OF_A_WEEK


def check_weekly_hours(text: str) -> str:
    """Return the text; raises ValueError if it does not describe weekly hours."""
    WeeklyHours.parse(text)
    return text


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _days(text: str) -> tuple[int, ...]:
    """Parse days such as `mon-fri,sun`; a range may cross the end of the week."""
    days: list[int] = []
    for part in text.split(","):
        first, is_range, last = part.partition("-")
        names = [first, last] if is_range else [first]
        if unknown := [name for name in names if name not in DAYS]:
            raise ValueError(
                f"{unknown[0]!r} is not a day: write {', '.join(DAYS)}, with - for a range and , for a list"
            )
        begin, end = DAYS.index(names[0]), DAYS.index(names[-1])
        days += [day % len(DAYS) for day in range(begin, (end if end >= begin else end + len(DAYS)) + 1)]
    if len(set(days)) != len(days):
        raise ValueError(f"{text!r} names a day twice")
    return tuple(sorted(days))


def _minutes(text: str) -> int:
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a time: write hours and minutes, from 00:00 to 23:59")
    return int(match[1]) * 60 + int(match[2])


def _cron(days: tuple[int, ...], minute: int) -> str:
    names = ",".join(DAYS[day].upper() for day in days)
    return f"cron({minute % 60} {minute // 60} ? * {names} *)"
