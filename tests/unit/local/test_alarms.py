"""The emulator's alarms, evaluated as CloudWatch documents it."""

import time
from collections.abc import Callable
from functools import partial

import pytest
from ministack.core.responses import AccountRegionScopedDict
from ministack.services import cloudwatch

from local import alarms


@pytest.mark.parametrize(
    ("expression", "values", "expected"),
    [
        ("a + b * 2 - 1", {"a": 1.0, "b": 2.0}, 4),
        ("100 * a / (a + b)", {"a": 1.0, "b": 3.0}, 25),
        ("a / b", {"a": 1.0, "b": 0.0}, None),
        ("a + b", {"a": 1.0, "b": None}, None),
        ("FILL(a, 0) + FILL(b, 0)", {"a": 1.0, "b": None}, 1),
        ("IF(a >= 20 AND FILL(b, 0) < 1, 1, 0)", {"a": 20.0, "b": None}, 1),
        ("IF(a >= 20 AND FILL(b, 0) < 1, 1, 0)", {"a": 19.0, "b": None}, 0),
        ("IF(a > 1 OR b > 1, 1, 0)", {"a": 0.0, "b": 2.0}, 1),
        ("IF(a > 1, 1, 0)", {"a": None}, None),
    ],
)
def test_metric_math(expression: str, values: dict[str, float | None], expected: float | None) -> None:
    assert alarms.calculate(expression, values) == expected


@pytest.mark.parametrize("expression", ["RATE(a)", "SEARCH('x', 'Sum', 300)", "a ** 2 if a else 1", "a +"])
def test_metric_math_that_is_not_understood_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        alarms.calculate(expression, {"a": 1.0})


@pytest.mark.parametrize(
    ("treat_missing", "values", "expected"),
    [
        ("missing", [None, None], "INSUFFICIENT_DATA"),
        ("ignore", [None, None], "BEFORE"),
        ("breaching", [None, None], "ALARM"),
        ("notBreaching", [None, None], "OK"),
        ("missing", [2.0, None], "OK"),
        ("breaching", [2.0, None], "ALARM"),
        ("missing", [2.0, 2.0], "ALARM"),
    ],
)
def test_missing_data_is_treated_as_the_alarm_specifies(
    treat_missing: str, values: list[float | None], expected: str
) -> None:
    alarm = {
        "StateValue": "BEFORE",
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "EvaluationPeriods": 2,
        "TreatMissingData": treat_missing,
    }
    assert alarms.state_of(alarm, values) == expected


def test_m_of_n_datapoints() -> None:
    alarm = {
        "StateValue": "OK",
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2,
        "TreatMissingData": "notBreaching",
    }
    assert alarms.state_of(alarm, [2.0, 0.0, 2.0]) == "ALARM"
    assert alarms.state_of(alarm, [2.0, 0.0, None]) == "OK"


def test_an_alarm_is_over_when_a_minute_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [{"Timestamp": time.time() - age, "Value": 1.0, "Unit": "Count", "Dimensions": {}} for age in (1, 0)]
    metrics = AccountRegionScopedDict()
    metrics["AWS/SageMaker", "Invocation5XXErrors", ""] = points
    monkeypatch.setattr(cloudwatch, "_metrics", metrics)
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors", "Statistic": "Sum", "Period": 60}
    alarm = {**metric, "EvaluationPeriods": 1}
    assert alarms.values_of(alarm, now=time.time()) == [2]
    alarms.let_a_minute_pass()
    assert alarms.values_of(alarm, now=time.time()) == [None]


def test_many_data_points_are_evaluated_once_and_a_later_one_again(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[Callable[[], object]] = []

    class Timer:
        def __init__(self, _seconds: float, function: Callable[..., object], arguments: list[object]) -> None:
            self._function = partial(function, *arguments)

        def start(self) -> None:
            timers.append(self._function)

    monkeypatch.setattr("local.alarms.threading.Timer", Timer)
    looked: list[str] = []
    evaluation = alarms.Evaluation(lambda: looked.append("once"))
    for times in (1, 2):
        for _ in range(100):
            evaluation.soon()
        timers.pop()()
        assert not timers
        assert len(looked) == times


def test_reading_the_alarms_does_not_wait() -> None:
    looked: list[str] = []
    evaluation = alarms.Evaluation(lambda: looked.append("once"))
    evaluation.if_due()
    assert looked == []
    evaluation.soon()
    evaluation.if_due()
    assert looked == ["once"]
