"""The output of `retrain`, by the output of the run's execution."""

import json
from typing import Any

import pytest

from ops import aws
from ops.retraining import entered_states
from tests.unit.ops.conftest import run

Output = pytest.CaptureFixture[str]

EVALUATED: dict[str, Any] = {
    "models": {"candidate": {"job": "scones-dev-new"}, "incumbent": {"job": "scones-dev-old"}},
    "evaluation": {
        "candidate": {"images": 200, "accuracy": 0.915, "calibration_error": 0.0312},
        "incumbent": {"images": 200, "accuracy": 0.905, "calibration_error": 0.0275},
        "reasons": [],
    },
}


class Execution:
    """A client whose one execution has ended in a state, with an output."""

    def __init__(self, state: str, output: dict[str, Any], status: str = "SUCCEEDED") -> None:
        self._state = state
        self._described = {"status": status, "output": json.dumps(output), "cause": "out of luck"}

    def start_execution(self, **_: Any) -> dict[str, str]:
        return {"executionArn": "arn:run"}

    def describe_execution(self, **_: Any) -> dict[str, str]:
        return self._described

    def get_paginator(self, _: str) -> "Execution":
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{"events": [{"stateEnteredEventDetails": {"name": self._state}}]}]


def retrain(monkeypatch: pytest.MonkeyPatch, execution: Execution) -> int:
    monkeypatch.setattr(aws, "stepfunctions", lambda: execution)
    monkeypatch.setattr(aws, "retraining_machine", lambda _: "arn:machine")
    return run("retrain", "--env", "dev")


def test_both_accuracies_and_why_it_was_released(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert retrain(monkeypatch, Execution("Released", EVALUATED)) == 0
    shown = capsys.readouterr().out
    assert "candidate scones-dev-new: accuracy 0.9150, calibration error 0.0312" in shown
    assert "incumbent scones-dev-old: accuracy 0.9050, calibration error 0.0275" in shown
    assert "on the same 200 validation images" in shown
    assert "Released: the candidate is within every bound" in shown
    assert "scones-dev serves scones-dev-new" in shown


def test_both_accuracies_and_why_it_was_rejected(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    reasons = ["accuracy 0.8000 is under the minimum of 0.85", "calibration error 0.2 is above the bound of 0.1"]
    rejected = {**EVALUATED, "evaluation": {**EVALUATED["evaluation"], "reasons": reasons}}
    assert retrain(monkeypatch, Execution("Rejected", rejected)) == 1
    output = capsys.readouterr()
    assert "candidate scones-dev-new: accuracy 0.9150" in output.out
    assert output.err == f"Error: Rejected: {'; '.join(reasons)}\n"


def test_the_message_says_if_nothing_is_new(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    assert retrain(monkeypatch, Execution("NothingNew", {"models": EVALUATED["models"]})) == 0
    shown = capsys.readouterr().out
    assert "NothingNew: the data and parameters are those of the model in service" in shown
    assert "accuracy" not in shown


@pytest.mark.parametrize(
    ("execution", "reason"),
    [
        (Execution("Refused", {"refusal": "the cool-down ends at 12:00"}), "Refused: the cool-down ends at 12:00"),
        (Execution("TrainingFailed", {}, status="FAILED"), "TrainingFailed: out of luck"),
        (Execution("NotApproved", {**EVALUATED, "approval": {"status": "Rejected"}}), "NotApproved: approval Rejected"),
    ],
)
def test_why_nothing_was_released(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, execution: Execution, reason: str
) -> None:
    assert retrain(monkeypatch, execution) == 1
    assert capsys.readouterr().err == f"Error: {reason}\n"


def test_a_short_run_is_noticed_soon_and_a_long_one_is_seldom_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    execution, waits = Execution("Released", EVALUATED, status="RUNNING"), list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 20:
            execution._described["status"] = "SUCCEEDED"

    monkeypatch.setattr("time.sleep", wait)
    assert list(entered_states(execution, "arn:run")) == ["Released"]
    assert waits[0] <= 0.1
    assert sum(waits[:5]) < 5
    assert waits == sorted(waits)
    assert waits[-1] == 2
