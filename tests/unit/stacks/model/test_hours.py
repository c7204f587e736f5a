"""The weekly hours of an endpoint: the setting, and the resulting EventBridge schedules."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from stacks.model.hours import DAYS, HOURS_OF_A_WEEK, WeeklyHours, hours_a_week

EVERY_DAY = "MON,TUE,WED,THU,FRI,SAT,SUN"


@pytest.mark.parametrize(
    ("text", "starts", "ends", "hours"),
    [
        ("mon-fri 08:00-18:00 Europe/Berlin", "0 8 ? * MON,TUE,WED,THU,FRI *", "0 18 ? * MON,TUE,WED,THU,FRI *", 50),
        ("sat 09:30-10:15 UTC", "30 9 ? * SAT *", "15 10 ? * SAT *", 0.75),
        # Across midnight it ends a day later, and from Sunday on Monday
        ("fri,sun 22:00-06:00 America/New_York", "0 22 ? * FRI,SUN *", "0 6 ? * MON,SAT *", 16),
        (
            "mon-sun 18:00-00:00 UTC",
            "0 18 ? * MON,TUE,WED,THU,FRI,SAT,SUN *",
            "0 0 ? * MON,TUE,WED,THU,FRI,SAT,SUN *",
            42,
        ),
        ("sat-mon 08:00-20:00 Asia/Kolkata", "0 8 ? * MON,SAT,SUN *", "0 20 ? * MON,SAT,SUN *", 36),
        # Whole days: it does not go at midnight where the next one is of the week, too
        ("mon-wed 00:00-00:00 UTC", "0 0 ? * MON,TUE,WED *", "0 0 ? * THU *", 72),
    ],
)
def test_hours_become_two_schedules(text: str, starts: str, ends: str, hours: float) -> None:
    weekly = WeeklyHours.parse(text)
    assert weekly.starts == f"cron({starts})"
    assert weekly.ends == f"cron({ends})"
    assert weekly.time_zone == text.rpartition(" ")[2]
    assert hours_a_week(text) == hours


def fires(expression: str, moment: datetime) -> bool:
    """Whether a schedule of this form fires in the minute."""
    minute, hour, *_, days, _ = expression.removeprefix("cron(").removesuffix(")").split()
    return (moment.minute, moment.hour) == (int(minute), int(hour)) and DAYS[moment.weekday()].upper() in days.split(
        ","
    )


@pytest.mark.parametrize(
    "text",
    [
        "mon-fri 08:00-18:00 UTC",
        "fri,sun 22:00-06:00 UTC",
        "mon-sun 05:00-04:59 UTC",
        "mon-wed 00:00-00:00 UTC",
        "sun-tue,thu 12:30-12:30 UTC",
    ],
)
def test_the_schedules_leave_the_endpoint_there_for_just_these_hours(text: str) -> None:
    weekly = WeeklyHours.parse(text)
    moment, minutes, is_there = datetime(2026, 11, 23, tzinfo=ZoneInfo("UTC")), 0, False
    week = 7 * 24 * 60
    for minute in range(2 * week):
        if fires(weekly.starts, moment):
            is_there = True
        elif fires(weekly.ends, moment):
            is_there = False
        minutes += is_there and minute >= week  # the first week says how the second begins
        moment += timedelta(minutes=1)
    assert minutes / 60 == pytest.approx(weekly.hours_a_week)


def test_an_endpoint_without_hours_is_always_there() -> None:
    assert hours_a_week(None) == HOURS_OF_A_WEEK == 168


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "such as"),
        ("mon-fri 08:00-18:00", "such as"),
        ("mon-fri 8-18 UTC", "'8' is not a time"),
        ("mon-fri 08:00-24:00 UTC", "'24:00' is not a time"),
        ("mon-fri 08:60-18:00 UTC", "'08:60' is not a time"),
        ("Mon-fri 08:00-18:00 UTC", "'Mon' is not a day"),
        ("mon-fry 08:00-18:00 UTC", "'fry' is not a day"),
        ("mon-fri,wed 08:00-18:00 UTC", "names a day twice"),
        ("mon-fri 08:00-18:00 Europe/Berln", "IANA time zone"),
        ("mon-fri 08:00-18:00 ../etc/passwd", "IANA time zone"),
        ("mon-sun 00:00-00:00 UTC", "is the whole week"),
    ],
)
def test_invalid_hours_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        WeeklyHours.parse(text)
