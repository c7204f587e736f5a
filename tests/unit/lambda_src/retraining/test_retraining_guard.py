import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto import mock_aws

from lambda_src.retraining import retraining_guard
from lambda_src.retraining.errors import GuardContentionError
from lambda_src.retraining.retraining_guard import (
    LOCK_KEY,
    Request,
    RunLock,
    acquire,
    handler,
    held_by,
    refusal_reason,
)
from lambda_src.shared import aws
from lambda_src.shared import pause as endpoint_pause
from tests.unit.lambda_src.retraining.data_set import BUCKET
from tests.unit.stand_in import client_for
from tests.unit.stored import create_bucket

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
COOL_DOWN = timedelta(hours=6)


def request(minutes: float = 0, name: str = "a", **given: Any) -> Request:
    return Request.of(
        {
            "execution_arn": f"arn:aws:states:us-east-1:123456789012:execution:scones-dev-retraining:{name}",
            "started_at": (NOW + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z"),
            "input": given,
        }
    )


def lock(minutes_ago: float) -> RunLock:
    """A lock whose holder started at NOW, after a run that was no rollback."""
    return RunLock("someone", NOW.isoformat(), (NOW - timedelta(minutes=minutes_ago)).isoformat())


@pytest.mark.parametrize(
    ("known", "given", "is_held", "refusal"),
    [
        (RunLock(), {}, False, ""),
        (lock(1000), {}, True, "another run is in progress since"),
        (lock(1000), {"force": True}, True, "another run is in progress since"),
        (lock(1000), {"rollback": True}, True, "another run is in progress since"),
        (lock(359), {}, False, "the last run started at 2030-05-01T06:01:00+00:00, less than 360 minutes ago"),
        (lock(360), {}, False, ""),
        (lock(359), {"force": True}, False, ""),
        (lock(1), {"rollback": True}, False, ""),
        (lock(359), {"force": "yes"}, False, "the last run started at"),  # only true forces
        (lock(359), {"rollback": "yes"}, False, "the last run started at"),
    ],
)
def test_a_run_may_start_when_no_other_is_in_progress_and_the_cool_down_is_over(
    known: RunLock, given: dict[str, Any], is_held: bool, refusal: str
) -> None:
    found = refusal_reason(known, request(**given), COOL_DOWN, is_held=is_held)
    assert found.startswith(refusal)
    assert bool(found) == bool(refusal)


def test_a_rollback_holds_the_lock_but_starts_no_cool_down() -> None:
    after = held_by(request(), lock(100))
    assert (after.holder, after.last_start) == (request().execution_arn, NOW.isoformat())
    rollback = request(5, name="b", rollback=True)
    assert held_by(rollback, after) == RunLock(
        rollback.execution_arn, (NOW + timedelta(minutes=5)).isoformat(), after.last_start
    )


def test_a_lock_of_an_earlier_version_holds_no_cool_down() -> None:
    assert RunLock.from_json(b'{"holder": "a", "held_since": "t", "starts": ["t"]}') == RunLock("a", "t", "")


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch, retraining_settings: None) -> Any:
    """S3 with its conditional writes, and executions that run until they are taken out of the set."""
    with mock_aws():
        s3, stepfunctions = client_for("s3"), client_for("stepfunctions")
        create_bucket(BUCKET)
        monkeypatch.setattr(aws, "s3", lambda: s3)
        monkeypatch.setattr(aws, "stepfunctions", lambda: stepfunctions)
        running: set[str] = set()
        monkeypatch.setattr(retraining_guard, "is_running", lambda known, _: known.holder in running)
        yield running


def test_many_alarms_at_once_start_exactly_one_run(states: set[str]) -> None:
    requests = [request(name=str(number), trigger="drift") for number in range(16)]
    states.update(r.execution_arn for r in requests)
    with ThreadPoolExecutor(16) as pool:
        refusals = list(pool.map(lambda r: acquire(r, COOL_DOWN), requests))
    assert refusals.count("") == 1
    assert all(refusal.startswith("another run is in progress") for refusal in refusals if refusal)


def test_a_run_that_ended_or_crashed_holds_nothing(states: set[str]) -> None:
    assert acquire(request(name="a"), COOL_DOWN) == ""
    assert "less than 360 minutes ago" in acquire(request(1, name="b"), COOL_DOWN)
    assert acquire(request(400, name="c"), COOL_DOWN) == ""
    assert "less than 360 minutes ago" in acquire(request(401, name="d"), COOL_DOWN)
    assert acquire(request(402, name="e", force=True), COOL_DOWN) == ""


def test_a_retry_of_the_step_is_the_same_run(states: set[str]) -> None:
    states.add(request().execution_arn)
    assert [acquire(request(), COOL_DOWN) for _ in range(3)] == ["", "", ""]
    body = aws.s3().get_object(Bucket=BUCKET, Key=LOCK_KEY)["Body"].read()
    assert RunLock.from_json(body).last_start == NOW.isoformat()


def test_a_run_that_loses_every_race_raises_an_error(states: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining_guard, "_write", lambda *_: False)
    with pytest.raises(GuardContentionError, match="changed 10 times"):
        acquire(request(), COOL_DOWN)


def test_no_run_continues_while_the_endpoint_is_paused(states: set[str]) -> None:
    event = {"execution_arn": "arn:x", "started_at": "2030-05-01T12:00:00.123Z", "input": {"rollback": True}}

    def pause(**resumed: str) -> None:
        body = json.dumps({"paused_at": "2030-04-30T18:00:00Z", **resumed})
        aws.s3().put_object(Bucket=BUCKET, Key=endpoint_pause.KEY, Body=body.encode())

    pause()
    assert "paused since 2030-04-30T18:00:00+00:00: resume it" in handler(event, None)["refusal"]
    pause(resumed_at="2030-05-01T08:00:00Z")
    assert handler(event, None)["refusal"] == ""


def test_the_response_names_the_run_and_its_trigger(states: set[str]) -> None:
    event = {"execution_arn": "arn:x", "started_at": "2030-05-01T12:00:00.123Z", "input": {"trigger": "drift"}}
    response = handler(event, None)
    assert (response["trigger"], response["refusal"]) == ("drift", "")
    assert len(response["run"]) == 8
    assert handler({**event, "execution_arn": "arn:y"}, None)["run"] != response["run"]


@pytest.mark.parametrize(("minutes", "counts_as_running"), [(1, True), (6, False)])
def test_an_execution_that_is_not_known_yet_runs(
    minutes: float, counts_as_running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mock_aws():
        client = client_for("stepfunctions")
        monkeypatch.setattr(aws, "stepfunctions", lambda: client)
        held = RunLock(request().execution_arn, NOW.isoformat())
        assert retraining_guard.is_running(held, NOW + timedelta(minutes=minutes)) == counts_as_running
