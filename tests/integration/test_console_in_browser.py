"""The console in a real browser, without an environment behind it."""

from pathlib import Path

import pytest

from ops.console.site import Site
from stacks.config import load_environment
from tests.integration.browser import LOOPBACK_ONLY, started
from tests.integration.console import served

SITE = Site(load_environment("dev"), "bucket", "arn:aws:states:us-east-1:123456789012:stateMachine:s", "AWS")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_the_address_opens_the_first_page_and_leaves_the_bar(tmp_path: Path, width: int, scheme: str) -> None:
    with served(SITE) as session, started(tmp_path, LOOPBACK_ONLY) as browser:
        browser.look(width=width, scheme=scheme)
        browser.open(session.address)
        assert browser.evaluate("location.href") == f"{session.origin}/"
        assert browser.evaluate("document.cookie") == ""
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browser.evaluate("document.styleSheets.length") == 2
        assert browser.console == []
