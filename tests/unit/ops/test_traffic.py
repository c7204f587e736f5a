"""Every image that a run has sent is accounted for, in whatever order and with whatever delay executions are listed.

The listing is AWS's as ListExecutions documents it; moto's sorts by start only, and its executions take no time.
"""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from ops import aws
from ops.aws import Deployment
from ops.traffic.follower import LATE, Follower
from ops.traffic.plan import Plan, Run, Via
from ops.traffic.tally import Tally

BEGAN = datetime(2026, 11, 25, tzinfo=UTC)


class Listing:
    """A state machine's executions, as ListExecutions lists them at `now`."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.calls = 0
        self.described: list[str] = []
        self.inputs: dict[str, str] = {}
        self.fails_at_page = 0
        self._executions: list[tuple[datetime, Any, datetime, Any]] = []

    def start(self, name: str, *, after: float, seconds: float, late: float = 0) -> None:
        """late: how long an execution that has ended is still listed as running."""
        start = BEGAN + timedelta(seconds=after)
        stop = start + timedelta(seconds=seconds)
        running = {"name": name, "executionArn": name, "startDate": start, "status": "RUNNING"}
        ended = {**running, "status": "SUCCEEDED", "stopDate": stop}
        self._executions.append((start, running, stop + timedelta(seconds=late), ended))

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_executions"
        return SimpleNamespace(paginate=self._pages)

    def describe_execution(self, *, executionArn: str) -> dict[str, str]:  # noqa: N803 - AWS's name
        self.described.append(executionArn)
        return {"input": self.inputs[executionArn]}

    def _pages(self, **request: Any) -> Iterator[dict[str, Any]]:
        size = request["PaginationConfig"]["PageSize"]
        items = [
            ended if shown <= self.now else running
            for start, running, shown, ended in self._executions
            if start <= self.now
        ]
        items.sort(key=lambda item: item.get("stopDate", item["startDate"]), reverse=True)
        for page, index in enumerate(range(0, max(len(items), 1), size), start=1):
            self.calls += 1
            if page == self.fails_at_page:
                raise EndpointConnectionError(endpoint_url="https://states")
            yield {"executions": items[index : index + size]}


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> Listing:
    listing = Listing()
    monkeypatch.setattr(aws, "stepfunctions", lambda: listing)
    monkeypatch.setattr(Follower, "_outcomes", lambda *_: [{"outcome": "ACCEPTED"}])
    return listing


def begin(images: int, via: Via = "executions") -> tuple[Run, Tally]:
    plan = Plan(classes=("bicycle", "motorcycle"), images=images, rate=5, seed=1, via=via)
    run = Run(plan, Deployment("scones", "arn"), began=BEGAN)
    return run, Tally(plan.size)


def follow(listing: Listing, follower: Follower, seconds: int, *, each: int = 1) -> None:
    """A look each second, or each so many."""
    with ThreadPoolExecutor(1) as pool:
        for _ in range(0, seconds, each):
            listing.now += timedelta(seconds=each)
            follower.look(pool)


def account(follower: Follower) -> None:
    with ThreadPoolExecutor(1) as pool:
        follower.account(pool)


@pytest.mark.parametrize(("shortest", "longest"), [(1, 2), (20, 60), (60, 600), (1, 600)])
def test_executions_are_counted_however_long_they_take(listing: Listing, shortest: int, longest: int) -> None:
    run, tally = begin(1500)
    rng = random.Random(1)
    for number in range(1500):
        tally.send(number)
        listing.start(run.request_name(number), after=number / 25, seconds=rng.uniform(shortest, longest))
    follow(listing, Follower(run, tally), 60 + longest, each=20)
    assert (tally.accepted, tally.unfinished) == (1500, 0)


def test_a_look_lists_what_is_new_however_many_executions_there_were(listing: Listing) -> None:
    run, tally = begin(600)
    for number in range(600):
        tally.send(number)
        listing.start(run.request_name(number), after=number, seconds=50)
    follow(listing, Follower(run, tally), 650)
    assert tally.accepted == 600
    assert listing.calls == 650
    assert listing.described == []


def test_executions_that_are_listed_late_are_counted(listing: Listing) -> None:
    run, tally = begin(1200)
    rng = random.Random(1)
    for number in range(1200):
        tally.send(number)
        late = rng.uniform(0, LATE.total_seconds() - 1)
        listing.start(run.request_name(number), after=number / 20, seconds=40, late=late)
    follow(listing, Follower(run, tally), 140)
    assert tally.accepted == 1200


def test_one_that_the_looks_have_missed_is_found_at_the_end(listing: Listing) -> None:
    run, tally = begin(500)
    follower = Follower(run, tally)
    for number in range(499):
        tally.send(number)
        listing.start(run.request_name(number), after=number / 5, seconds=1)
    follow(listing, follower, 200)
    tally.send(499)
    listing.start(run.request_name(499), after=1, seconds=1)  # known only now, later than LATE
    follow(listing, follower, 1)
    assert tally.unfinished == 1
    account(follower)
    assert (tally.accepted, tally.unfinished_requests) == (500, {})


def test_images_without_an_outcome_are_named(listing: Listing) -> None:
    run, tally = begin(3)
    listing.start(run.request_name(0), after=0, seconds=1)
    listing.start(run.request_name(1), after=0, seconds=1000)
    for number in range(3):
        tally.send(number)
    follower = Follower(run, tally)
    follow(listing, follower, 5)
    account(follower)
    assert tally.accepted == 1
    assert tally.unfinished_requests == {
        f"{run.name}-1": "RUNNING",
        f"{run.name}-2": "unknown: not listed",
    }


def test_a_listing_that_fails_is_repeated_and_loses_no_outcome(listing: Listing) -> None:
    run, tally = begin(300)
    follower = Follower(run, tally)
    for number in range(300):
        tally.send(number)
        listing.start(run.request_name(number), after=0, seconds=1)
    listing.fails_at_page = 2
    follow(listing, follower, 100)
    account(follower)
    assert set(tally.unfinished_requests.values()) == {"unknown: the listing failed"}
    assert len(tally.unfinished_requests) == 300
    listing.fails_at_page = 0
    follow(listing, follower, 1)
    assert tally.accepted == 300


def test_an_execution_whose_start_got_no_response_counts_as_sent(listing: Listing) -> None:
    run, tally = begin(3)
    for number in range(3):
        tally.send(number)
        tally.refuse(number, ReadTimeoutError(endpoint_url="https://states"))
    listing.start(run.request_name(0), after=0, seconds=1)
    listing.start(run.request_name(1), after=0, seconds=1000)
    assert (tally.sent, tally.not_sent) == (0, 3)
    follow(listing, Follower(run, tally), 5)
    assert (tally.sent, tally.not_sent, tally.accepted, tally.unfinished) == (2, 1, 1, 1)
    assert list(tally.errors.values()) == [1]


def test_an_execution_that_succeeded_may_have_left_its_images_to_wait(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Follower, "_outcomes", lambda *_: [{"outcome": "WAITING"}])
    run, tally = begin(1)
    tally.send(0)
    listing.start(run.request_name(0), after=0, seconds=1)
    follow(listing, Follower(run, tally), 5)
    assert (tally.accepted, tally.waiting, tally.unfinished) == (0, 1, 0)


def test_other_executions_and_other_runs_are_not_counted(listing: Listing) -> None:
    run, tally = begin(1)
    tally.send(0)
    for name in ("traffic-0", f"{run.name}-1-0", f"x{run.name}-0", f"{run.name}-00", f"{run.name}x-0"):
        listing.start(name, after=0, seconds=1)
    follow(listing, Follower(run, tally), 5)
    assert tally.unfinished == 1


def test_an_upload_that_is_delivered_twice_is_counted_once(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    run, tally = begin(2, via="uploads")
    follower = Follower(run, tally)
    outcome = {"outcome": "ACCEPTED", "s3_key": run.request_name(0)}
    reads: list[str] = []

    def outcomes(name: str) -> list[dict[str, Any]]:
        reads.append(name)
        return [] if name == "stranger" else [outcome]

    monkeypatch.setattr(follower, "_outcomes", outcomes)
    listing.inputs = {"stranger": '{"s3_key": "incoming/elsewhere/1.png"}'}
    for name, seconds in (("first", 1), ("second", 40), ("stranger", 1)):
        listing.start(name, after=0, seconds=seconds)
    tally.send(0)
    tally.send(1)
    follow(listing, follower, 100)
    account(follower)
    assert (tally.accepted, tally.unfinished) == (1, 1)
    assert tally.unfinished_requests == {run.request_name(1): "unknown: no execution of it has ended"}
    assert sorted(reads) == ["first", "second", "stranger"]  # one read of each, in a hundred looks
    assert listing.described == ["stranger"]
