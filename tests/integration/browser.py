"""A real Chromium for tests (local/browser.py), which are skipped if there is none."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local import browser as driver
from local.browser import LOOPBACK_ONLY, Browser, NoBrowserError, installed

__all__ = ["LOOPBACK_ONLY", "Browser", "opened", "started"]


@contextmanager
def started(profile: Path, *options: str) -> Iterator[Browser]:
    """A browser until the end of the block. profile: a folder for its own files."""
    try:
        running = driver.Browser(profile, options)
    except NoBrowserError as error:
        # In CI a missing browser is an error
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    try:
        yield running
    finally:
        running.close()


def opened(browser: Browser, url: str) -> str:
    """The document eight seconds (of the page's clock) after it was opened; from then on that clock stands still."""
    browser.call("Page.navigate", url=url)
    browser.call("Emulation.setVirtualTimePolicy", policy="pauseIfNetworkFetchesPending", budget=8000)
    browser.wait_for("Emulation.virtualTimeBudgetExpired")
    return str(browser.evaluate("document.documentElement.outerHTML"))


if __name__ == "__main__":
    sys.exit(installed() is None)
