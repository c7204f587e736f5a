"""Schedule expressions, as EventBridge Scheduler takes them.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import re

_EXAMPLES = 'such as "rate(7 days)", or "cron(0 6 ? * MON-FRI *)" for 06:00 UTC on working days'
_RATE = re.compile(r"rate\([1-9][0-9]* (minute|hour|day)s?\)")
# Each field's least and greatest value, the names of its values, and what else it takes
_FIELDS = {
    "minutes": (0, 59, "", ""),
    "hours": (0, 23, "", ""),
    "day of the month": (1, 31, "", r"\?|L|LW|[0-9]+W"),
    "month": (1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", ""),
    "day of the week": (1, 7, "SUN MON TUE WED THU FRI SAT", r"\?|L|\w+L|\w+#[1-5]"),
    "year": (1970, 2199, "", ""),
}
_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>[1-9][0-9]*))?")


def check_schedule(text: str) -> str:
    """The text; raises ValueError for what EventBridge Scheduler would refuse, with an example."""
    if _RATE.fullmatch(text):
        return text
    match = re.fullmatch(r"cron\((.+)\)", text)
    if not match:
        raise ValueError(f"must be rate(NUMBER minutes, hours or days) or cron(FIELDS), {_EXAMPLES}")
    values = match[1].split()
    if len(values) != len(_FIELDS):
        raise ValueError(
            f"has {len(values)} fields in cron(), which are {len(_FIELDS)}: {', '.join(_FIELDS)}; {_EXAMPLES}"
        )
    fields = dict(zip(_FIELDS, values, strict=True))
    if [fields["day of the month"], fields["day of the week"]].count("?") != 1:
        raise ValueError(f"must have ? for either the day of the month or the day of the week, {_EXAMPLES}")
    for name, value in fields.items():
        if not all(_is_part(part, name) for part in value.split(",")):
            raise ValueError(f"has {value!r} for {name}, {_EXAMPLES}")
    return text


def _is_part(part: str, field: str) -> bool:
    least, greatest, names, others = _FIELDS[field]
    values = [*map(str, range(least, greatest + 1)), *names.split()]
    if others and re.fullmatch(others, part):
        first = re.match(r"[0-9]+|[A-Z]{3}", part)
        return not first or first[0] in values
    match = _PART.fullmatch(part)
    if not match or (match["first"] == "*" and match["last"]):
        return False
    numbers = [
        value.lstrip("0") or "0" if value.isdigit() else value for value in (match["first"], match["last"]) if value
    ]
    return all(number in {*values, "*"} for number in numbers)
