"""Makes the emulator's Scheduler respect the time zones of schedules, which it ignores."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ministack.services import eventbridge, scheduler
from ministack.services.cloudformation import provisioners

_TICK_SECONDS = 1


class _InZone(str):
    """A schedule's expression with its time zone."""

    __slots__ = ("zone",)
    zone: ZoneInfo


class _Fields(tuple[Any, ...]):
    """The parsed fields of an expression, with its time zone."""

    zone: ZoneInfo


def register() -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"]
    handlers["create"] = _with_time_zone(handlers["create"], properties_at=1)
    handlers["update"] = _with_time_zone(handlers["update"], properties_at=2)
    tick, parse, next_fire = scheduler._tick_schedules, eventbridge._parse_cron_fields, eventbridge._cron_next_fire

    def tick_in_zones() -> None:
        for schedule in list(scheduler._schedules._data.values()):
            expression = _InZone(schedule["ScheduleExpression"])
            expression.zone = ZoneInfo(schedule["ScheduleExpressionTimezone"])
            schedule["ScheduleExpression"] = expression
        tick()

    def parse_in_zone(expression: str) -> Any:
        found = parse(expression)
        if found is None or not isinstance(expression, _InZone):
            return found
        fields = _Fields(found)
        fields.zone = expression.zone
        return fields

    def next_fire_in_zone(fields: Any, after: datetime) -> datetime | None:
        found: datetime | None = next_fire(
            fields, after.astimezone(fields.zone) if isinstance(fields, _Fields) else after
        )
        return found

    scheduler._tick_schedules = tick_in_zones
    scheduler._SCHEDULE_TICK_INTERVAL = _TICK_SECONDS
    eventbridge._parse_cron_fields = parse_in_zone
    eventbridge._cron_next_fire = next_fire_in_zone


def _with_time_zone(handle: Callable[..., Any], *, properties_at: int) -> Callable[..., Any]:
    def handle_with_time_zone(*arguments: Any) -> Any:
        made = handle(*arguments)
        properties = arguments[properties_at]
        schedule = scheduler._schedules[f"{properties.get('GroupName', 'default')}/{made[0]}"]
        schedule["ScheduleExpressionTimezone"] = properties.get("ScheduleExpressionTimezone", "UTC")
        return made

    return handle_with_time_zone
