"""The schedule expressions that EventBridge Scheduler accepts according to its documentation."""

import pytest

from stacks.shared.schedule_expression import check_schedule


@pytest.mark.parametrize(
    "text",
    [
        "rate(1 day)",
        "rate(7 days)",
        "rate(30 minutes)",
        "cron(0 6 * * ? *)",
        "cron(15 10 ? * 6L 2026-2030)",
        "cron(0/5 8-17 ? * MON-FRI *)",
        "cron(0 8 1 * ? *)",
        "cron(0 18 L JAN,JUL ? *)",
        "cron(30 9 3W * ? *)",
        "cron(0 9 LW * ? *)",
        "cron(0 9 ? * 2#1 *)",
        "cron(00 08 ? * MON,TUE *)",
        "cron(*/10 * ? * * *)",
    ],
)
def test_a_documented_form_is_taken(text: str) -> None:
    assert check_schedule(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 6 * * *", "must be rate"),
        ("daily", "must be rate"),
        ("rate(0 days)", "must be rate"),
        ("rate(7 weeks)", "must be rate"),
        ("rate(day)", "must be rate"),
        ("cron(0 6 * * *)", "has 5 fields"),
        ("cron(0 6 * * * *)", "must have \\? for either"),
        ("cron(0 6 ? * ? *)", "must have \\? for either"),
        ("cron(0 6 1 * MON *)", "must have \\? for either"),
        ("cron(60 6 * * ? *)", "'60' for minutes"),
        ("cron(0 24 * * ? *)", "'24' for hours"),
        ("cron(0 6 32 * ? *)", "'32' for day of the month"),
        ("cron(0 6 0W * ? *)", "'0W' for day of the month"),
        ("cron(0 6 * 13 ? *)", "'13' for month"),
        ("cron(0 6 ? * 0 *)", "'0' for day of the week"),
        ("cron(0 6 ? * 8 *)", "'8' for day of the week"),
        ("cron(0 6 ? * MONDAY *)", "'MONDAY' for day of the week"),
        ("cron(0 6 ? * 8#1 *)", "'8#1' for day of the week"),
        ("cron(? 6 * * ? *)", "'\\?' for minutes"),
        ("cron(0/0 6 * * ? *)", "'0/0' for minutes"),
        ("cron(0, 6 * * ? *)", "'0,' for minutes"),
        ("cron(*-5 6 * * ? *)", "for minutes"),
        ("cron(0 6 * * ? 26)", "'26' for year"),
    ],
)
def test_an_expression_that_the_scheduler_refuses_is_refused_with_a_reason_and_an_example(
    text: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=rf"{reason}.*such as \"rate\(7 days\)\""):
        check_schedule(text)
