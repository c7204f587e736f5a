import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from lambda_src.retraining import retraining_guard
from lambda_src.retraining.errors import GuardContentionError
from lambda_src.retraining.retraining_guard import LEDGER_KEY, Ledger, Limits, Request, enter, entered, handler, why_not
from lambda_src.shared import aws
from lambda_src.shared import pause as endpoint_pause
from tests.unit.lambda_src.retraining.data_set import BUCKET

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
LIMITS = Limits(max_per_day=2, cool_down=timedelta(hours=6))


def request(minutes: float = 0, name: str = "a", **given: Any) -> Request:
    return Request.of(
        {
            "execution_arn": f"arn:aws:states:us-east-1:123456789012:execution:scones-dev-retraining:{name}",
            "started_at": (NOW + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z"),
            "input": given,
        }
    )


def ledger(*minutes_ago: float) -> Ledger:
    return Ledger("someone", NOW.isoformat(), tuple((NOW - timedelta(minutes=m)).isoformat() for m in minutes_ago))


@pytest.mark.parametrize(
    ("known", "given", "holder_runs", "refusal"),
    [
        (Ledger(), {}, False, ""),
        (ledger(), {}, True, "another run is under way since"),
        (ledger(), {"force": True}, True, "another run is under way since"),
        (ledger(), {"rollback": True}, True, "another run is under way since"),
        (ledger(359), {}, False, "the last run started at 2030-05-01T06:01:00+00:00, less than 360 minutes ago"),
        (ledger(360), {}, False, ""),
        (ledger(359), {"force": True}, False, ""),
        (ledger(1), {"rollback": True}, False, ""),
        (ledger(1000, 500), {}, False, "2 runs started within a day, and 2 are allowed"),
        (ledger(1440, 500), {}, False, ""),
        (ledger(1000, 500), {"force": True}, False, ""),
        (ledger(1000, 500), {"force": "yes"}, False, "2 runs started within a day"),  # true, and nothing like it
        (ledger(1000, 500), {"rollback": "yes"}, False, "2 runs started within a day"),
    ],
)
def test_who_may_start(known: Ledger, given: dict[str, Any], holder_runs: bool, refusal: str) -> None:
    found = why_not(known, request(**given), LIMITS, holder_runs=holder_runs)
    assert found.startswith(refusal)
    assert bool(found) == bool(refusal)


def test_the_ledger_remembers_one_day_and_counts_no_rollback() -> None:
    after = entered(ledger(1500, 100), request())
    assert after.holder == request().execution_arn
    assert after.starts == ((NOW - timedelta(minutes=100)).isoformat(), NOW.isoformat())
    assert entered(after, request(name="b", rollback=True)).starts == after.starts


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch, retraining_settings: None) -> Any:
    """S3 with its conditional writes, and executions that run until they are taken out of the set."""
    with mock_aws():
        session = boto3.Session("unit", "test", region_name="us-east-1")
        s3, stepfunctions = session.client("s3"), session.client("stepfunctions")
        s3.create_bucket(Bucket=BUCKET)
        monkeypatch.setattr(aws, "s3", lambda: s3)
        monkeypatch.setattr(aws, "stepfunctions", lambda: stepfunctions)
        running: set[str] = set()
        monkeypatch.setattr(retraining_guard, "is_running", lambda known, _: known.holder in running)
        yield running


def test_of_a_storm_of_alarms_exactly_one_run_starts(states: set[str]) -> None:
    requests = [request(name=str(number), trigger="drift") for number in range(16)]
    states.update(r.execution_arn for r in requests)
    with ThreadPoolExecutor(16) as pool:
        refusals = list(pool.map(lambda r: enter(r, LIMITS), requests))
    assert refusals.count("") == 1
    assert all(refusal.startswith("another run is under way") for refusal in refusals if refusal)


def test_a_run_that_ended_or_crashed_holds_nothing(states: set[str]) -> None:
    assert enter(request(name="a"), LIMITS) == ""
    assert "less than 360 minutes ago" in enter(request(1, name="b"), LIMITS)
    assert enter(request(400, name="c"), LIMITS) == ""
    assert "2 runs started within a day" in enter(request(800, name="d"), LIMITS)
    assert enter(request(801, name="e", force=True), LIMITS) == ""


def test_a_retry_of_the_step_is_the_same_run(states: set[str]) -> None:
    states.add(request().execution_arn)
    assert [enter(request(), LIMITS) for _ in range(3)] == ["", "", ""]
    body = aws.s3().get_object(Bucket=BUCKET, Key=LEDGER_KEY)["Body"].read()
    assert Ledger.from_json(body).starts == (NOW.isoformat(),)


def test_who_loses_every_race_says_so(states: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining_guard, "_write", lambda *_: False)
    with pytest.raises(GuardContentionError, match="changed 10 times"):
        enter(request(), LIMITS)


def test_no_run_goes_on_while_the_endpoint_is_paused(states: set[str]) -> None:
    event = {"execution_arn": "arn:x", "started_at": "2030-05-01T12:00:00.123Z", "input": {"rollback": True}}

    def pause(resumed_at: str | None) -> None:
        body = json.dumps({"paused_at": "2030-04-30T18:00:00Z", "resumed_at": resumed_at})
        aws.s3().put_object(Bucket=BUCKET, Key=endpoint_pause.KEY, Body=body.encode())

    pause(None)
    assert "paused since 2030-04-30T18:00:00+00:00: resume it" in handler(event, None)["refusal"]
    pause("2030-05-01T08:00:00Z")
    assert handler(event, None)["refusal"] == ""


def test_the_answer_names_the_run_and_who_asked(states: set[str]) -> None:
    event = {"execution_arn": "arn:x", "started_at": "2030-05-01T12:00:00.123Z", "input": {"trigger": "drift"}}
    answer = handler(event, None)
    assert (answer["trigger"], answer["refusal"]) == ("drift", "")
    assert len(answer["run"]) == 8
    assert handler({**event, "execution_arn": "arn:y"}, None)["run"] != answer["run"]


@pytest.mark.parametrize(("minutes", "counts_as_running"), [(1, True), (6, False)])
def test_an_execution_that_is_not_known_yet_runs(
    minutes: float, counts_as_running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mock_aws():
        client = boto3.Session("unit", "test", region_name="us-east-1").client("stepfunctions")
        monkeypatch.setattr(aws, "stepfunctions", lambda: client)
        held = Ledger(request().execution_arn, NOW.isoformat())
        assert retraining_guard.is_running(held, NOW + timedelta(minutes=minutes)) == counts_as_running
