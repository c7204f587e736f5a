"""Metric alarms as CloudWatch evaluates them: exact dimensions, periods, missing data, metric math.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html and, for the expressions,
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html. Metric math is limited to what
this project's alarms use: arithmetic, comparisons, AND, OR, IF and FILL.
"""

import ast
import contextvars
import operator
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import cloudwatch

Alarm = dict[str, Any]
Value = float | None  # of one period; None if missing

DELAY_SECONDS = 0.25

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class Evaluation:
    """Schedules the evaluation of alarms: shortly after new data points, and before a client reads the alarms.

    The emulator evaluates at each data point, which takes longer the more there are; CloudWatch evaluates every minute.
    """

    def __init__(self, evaluate_all: Callable[[], None]) -> None:
        self._evaluate_all = evaluate_all
        self._is_due = False
        self._under_way = threading.RLock()

    def soon(self) -> None:
        if self._is_due:
            return
        self._is_due = True
        # In the caller's context, which names the account and the region
        timer = threading.Timer(DELAY_SECONDS, contextvars.copy_context().run, [self.if_due])
        timer.daemon = True
        timer.start()

    def if_due(self) -> None:
        with self._under_way:
            if self._is_due:
                self._is_due = False
                self._evaluate_all()


def let_a_minute_pass() -> None:
    """Age all data points by a minute: an update's alarms last as long after what set them off."""
    for points in list(cloudwatch._metrics._data.values()):
        for point in points:
            point["Timestamp"] -= 60


def evaluate(alarm: Alarm) -> None:
    """Evaluate an alarm of the emulator, and run its actions if its state changes."""
    values = values_of(alarm, now=time.time())
    new_state = state_of(alarm, values)
    old_state = alarm["StateValue"]
    if new_state == old_state:
        return
    shown = ", ".join("missing" if value is None else f"{value:g}" for value in values)
    reason = f"Threshold Crossed: [{shown}] {alarm['ComparisonOperator']} {alarm['Threshold']:g} gives {new_state}."
    alarm.update({"StateValue": new_state, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())})
    cloudwatch._record_history(alarm["AlarmName"], old_state, new_state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old_state, new_state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def state_of(alarm: Alarm, values: list[Value]) -> str:
    """The alarm's state for the values of the evaluated periods, newest first."""
    missing_data = alarm.get("TreatMissingData") or "missing"
    if all(value is None for value in values):
        unchanged = str(alarm["StateValue"])
        return {"breaching": "ALARM", "notBreaching": "OK", "ignore": unchanged}.get(missing_data, "INSUFFICIENT_DATA")
    compare = _COMPARISONS[alarm["ComparisonOperator"]]
    breaching = [
        missing_data == "breaching" if value is None else compare(value, alarm["Threshold"]) for value in values
    ]
    return "ALARM" if sum(breaching) >= (alarm.get("DatapointsToAlarm") or len(values)) else "OK"


def values_of(alarm: Alarm, *, now: float) -> list[Value]:
    """The alarm's metric or expression in each of its evaluated periods, newest first."""
    queries = alarm.get("Metrics") or [
        {
            "Id": "metric",
            "MetricStat": {
                "Metric": {key: alarm.get(key) for key in ("Namespace", "MetricName", "Dimensions")},
                "Period": alarm["Period"],
                "Stat": alarm.get("ExtendedStatistic") or alarm["Statistic"],
            },
        }
    ]
    statistics = {query["Id"]: query["MetricStat"] for query in queries if "MetricStat" in query}
    expressions = [query["Expression"] for query in queries if "Expression" in query] or list(statistics)
    (period,) = {int(statistic["Period"]) for statistic in statistics.values()}
    (expression,) = expressions
    return [
        calculate(
            expression,
            {
                name: _statistic(statistic, start=now - (index + 1) * period, end=now - index * period)
                for name, statistic in statistics.items()
            },
        )
        for index in range(int(alarm["EvaluationPeriods"]))
    ]


def _statistic(statistic: Mapping[str, Any], *, start: float, end: float) -> Value:
    metric = statistic["Metric"]
    dimensions = cloudwatch._dims_from_list(metric.get("Dimensions") or [])
    key = (metric["Namespace"], metric["MetricName"], cloudwatch._dims_key(dimensions))
    points = [point for point in cloudwatch._metrics.get(key) or [] if start < point["Timestamp"] <= end]
    stats = cloudwatch._calc_stats(points)
    value = cloudwatch._stat_value(stats, statistic["Stat"], points) if stats else None
    return None if value is None else float(value)


def calculate(expression: str, values: Mapping[str, Value]) -> Value:
    """The value of a metric math expression for one period; raises ValueError for unsupported syntax."""
    python = re.sub(r"\b(AND|OR)\b", lambda match: match[0].lower(), expression)
    try:
        return _calculate(ast.parse(python, mode="eval").body, values)
    except SyntaxError as error:
        raise ValueError(f"metric math is not understood: {expression!r}") from error


def _calculate(node: ast.AST, values: Mapping[str, Value]) -> Value:  # noqa: PLR0911 - one for each kind of node
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=symbol, right=right):
            return _apply(symbol, _calculate(left, values), _calculate(right, values))
        case ast.Compare(left=left, ops=[symbol], comparators=[right]):
            return _apply(symbol, _calculate(left, values), _calculate(right, values))
        case ast.BoolOp(op=symbol, values=nodes):
            parts = [_calculate(part, values) for part in nodes]
            if None in parts:
                return None
            return float(all(parts) if isinstance(symbol, ast.And) else any(parts))
        case ast.Call(func=ast.Name(id="FILL"), args=[metric, filling]):
            value = _calculate(metric, values)
            return _calculate(filling, values) if value is None else value
        case ast.Call(func=ast.Name(id="IF"), args=[condition, yes, no]):
            result = _calculate(condition, values)
            return None if result is None else _calculate(yes if result else no, values)
    raise ValueError(f"metric math is not understood: {ast.unparse(node)!r}")


def _apply(symbol: ast.AST, left: Value, right: Value) -> Value:
    if left is None or right is None or (isinstance(symbol, ast.Div) and right == 0):
        return None
    return float(_OPERATORS[type(symbol)](left, right))
