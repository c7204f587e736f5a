"""The Review page by keyboard in a real browser, on an account inside this process.

SCREENSHOTS=docs/images makes the picture of docs/console.md again, which shows a synthetic image.
"""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from data_prep.sample import draw_image
from local.review import at_night
from ops import aws
from ops.console.security import Session
from ops.console.site import Site
from ops.review.records import Records
from stacks.config import PROJECT_ROOT, EnvironmentConfig
from tests.integration.browser import Browser
from tests.integration.console import served
from tests.unit.ops.review.conftest import BUCKET, Account, account, config, item, outcome_of

__all__ = ["account", "config"]

IMAGE = "document.querySelector('#label [name=image]').value"
READY = "document.readyState === 'complete' && document.getElementById('picture')?.naturalWidth > 0"


@pytest.fixture
def site(account: Account, config: EnvironmentConfig) -> Site:
    """With six rejected pictures, taken at night."""
    random = np.random.default_rng(8)
    for number in range(6):
        buffer = io.BytesIO()
        at_night(draw_image(config.classes[number % 2], random)).save(buffer, "PNG")
        outcome = outcome_of(account.picture(f"night-{number}.png", buffer.getvalue()), confidence=0.6 + number / 100)
        account.manifest_of(f"e{number}", [item(outcome)], at=outcome.at.replace(minute=number))
    return Site(config, BUCKET, "arn:aws:states:us-east-1:123456789012:stateMachine:s", "AWS (123456789012, us-east-1)")


def open_review(browser: Browser, session: Session) -> None:
    browser.look(width=1280, height=1000)
    browser.open(f"{session.origin}/review?token={session.token}")
    browser.wait_until(READY)


def press(browser: Browser, key: str) -> str:
    """Press a key, and wait for another picture: its id."""
    before = browser.evaluate(IMAGE)
    browser.press(key)
    browser.wait_until(f"{READY} && {IMAGE} !== {json.dumps(before)}")
    return str(browser.evaluate(IMAGE))


def said() -> dict[str, str]:
    return {i: review.label or review.decision for i, review in Records(BUCKET).refresh().items()}


def test_somebody_reviews_by_keyboard_and_a_console_that_ended_loses_nothing(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    with served(site) as session:
        open_review(browser, session)
        browser.press("b")
        assert browser.evaluate("document.getElementById('picture').className") == "bright"
        folder = os.environ.get("SCREENSHOTS")
        browser.screenshot((PROJECT_ROOT / folder if folder else tmp_path) / "console-review.png")
        first = browser.evaluate(IMAGE)
        second = press(browser, "1")
        assert browser.evaluate("document.getElementById('picture').className") == "bright", "the next one, too"
        third = press(browser, "n")
        press(browser, "2")
        assert press(browser, "u") == third, "undo shows the picture again"
        assert press(browser, "s") != third
        assert browser.console == []
    expected = {first: "bicycle", second: "neither", third: "undone"}
    assert said() == expected
    with served(site) as again:
        open_review(browser, again)
        assert browser.evaluate(IMAGE) == third, "what was undone is the oldest that waits"
        press(browser, "2")
    assert said() == expected | {third: "motorcycle"}


def test_a_key_that_is_held_down_labels_one_picture(site: Site, browser: Browser) -> None:
    with served(site) as session:
        open_review(browser, session)
        first = browser.evaluate(IMAGE)
        second = press(browser, "1")
        for _ in range(5):
            browser.call("Input.dispatchKeyEvent", type="keyDown", key="1", text="1", autoRepeat=True)
        for shortcut in (2, 4):  # Ctrl and Meta: the browser's own
            browser.call("Input.dispatchKeyEvent", type="keyDown", key="1", modifiers=shortcut)
        press(browser, "2")
        assert said() == {first: "bicycle", second: "motorcycle"}


def test_a_picture_that_cannot_be_seen_is_not_labelled_by_a_key(site: Site, browser: Browser) -> None:
    for entry in aws.s3().list_object_versions(Bucket=BUCKET, Prefix="incoming/")["Versions"]:
        aws.s3().delete_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])
    with served(site) as session:
        browser.open(f"{session.origin}/review?token={session.token}")
        browser.wait_until("document.getElementById('unseen').innerText.includes('does not exist')")
        first = browser.evaluate(IMAGE)
        for key in "12ns":  # of which the last one skips it
            browser.press(key)
        browser.wait_until(f"document.readyState === 'complete' && {IMAGE} !== {json.dumps(first)}")
        assert said() == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_works_on_a_phone(site: Site, browser: Browser, scheme: str) -> None:
    with served(site) as session:
        open_review(browser, session)
        browser.look(width=360, height=740, scheme=scheme)
        assert browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        heights = "[...document.querySelectorAll('#label :is(button, a)')].map((b) => b.getBoundingClientRect().height)"
        assert min(browser.evaluate(heights)) >= 44
        names = "[...document.querySelectorAll('button, a')].every((b) => b.textContent.trim())"
        assert browser.evaluate(names)
        first = browser.evaluate(IMAGE)
        browser.evaluate("document.getElementById('keyless').click()")
        browser.press("1")
        browser.evaluate("document.querySelector('#label [value=motorcycle]').click()")
        browser.wait_until(f"{READY} && {IMAGE} !== {json.dumps(first)}")
        assert said() == {first: "motorcycle"}
