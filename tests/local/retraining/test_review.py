"""Two people review in real browsers with the stack's policy alone, and what they say becomes training data.

A key in a browser: tests/integration/test_review_in_browser.py; the page: tests/unit/ops/review/test_page.py.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest

from local.cloud import LocalCloud
from local.demonstration import Environment, wait_for
from local.retraining import DataSet, Retraining
from local.review import publish, upload_night
from ops.review.records import Records
from tests.integration.browser import LOOPBACK_ONLY, Browser, started
from tests.local.test_console import console, person, policy

IMAGE = "document.querySelector('#label [name=image]').value"
READY = "document.readyState === 'complete' && document.getElementById('picture')?.naturalWidth > 0"


@pytest.fixture
def reviewers(cloud: LocalCloud, environment: Environment, tmp_path: Path) -> Iterator[list[Browser]]:
    """Two users, each with a console and a browser of their own."""
    with ExitStack() as stack:
        browsers = []
        for name in ("one", "two"):
            user = stack.enter_context(person(cloud, policy("Reviewer")))
            address = stack.enter_context(console(user.variables))
            browsers.append(stack.enter_context(started(tmp_path / name, LOOPBACK_ONLY)))
            browsers[-1].look(width=1280, height=1000)
            browsers[-1].open(address)
        yield browsers


def press(browser: Browser, key: str) -> str:
    """Press a key, and wait for another picture: its id."""
    before = browser.evaluate(IMAGE)
    browser.press(key)
    browser.wait_until(f"{READY} && {IMAGE} !== {json.dumps(before)}")
    return str(browser.evaluate(IMAGE))


def test_two_people_label_undo_and_publish_by_keyboard(
    environment: Environment, retraining: Retraining, data: DataSet, reviewers: list[Browser]
) -> None:
    environment.classify(list(upload_night(environment, 16, name="browsers", seed=5)))
    one, two = reviewers
    for browser in reviewers:
        browser.evaluate("location.assign('/review?accepted=1&order=least-sure')")
        browser.wait_until(f"location.pathname === '/review' && {READY}")
    first = one.evaluate(IMAGE)
    assert two.evaluate(IMAGE) == first

    press(one, "1")
    second = press(two, "2")
    assert "labelled it bicycle" in two.text()
    assert "meanwhile: nothing was changed" in two.text()
    third = press(two, "2")
    press(two, "n")
    assert press(two, "u") == third
    for browser in reviewers:
        assert browser.console == []
        assert browser.evaluate("document.querySelectorAll('.missing-part:not([role=alert])').length") == 0
    said = {i: review.label or review.decision for i, review in Records(environment.bucket).refresh().items()}
    assert {i: said[i] for i in (first, second, third)} == {first: "bicycle", second: "motorcycle", third: "undone"}

    known = set(retraining.executions())
    (published, *_) = publish(two)
    assert re.search(r"has [12] reviewed pictures", published), "they may be alike, or one like pictures of both lists"
    (arn,) = wait_for(lambda: set(retraining.executions()) - known or None, "a run that the new data starts")
    retraining.follow(arn)
    described = boto3.client("stepfunctions").describe_execution(executionArn=arn)
    assert json.loads(described["input"])["trigger"] == "data"
