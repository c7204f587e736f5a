"""A real Chromium for tests (local/browser.py), which are skipped where there is none."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
        # In CI a skipped test is a test that nobody has
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    try:
        yield running
    finally:
        running.close()


def opened(url: str, *options: str, profile: Path, scheme: str = "light") -> tuple[str, list[dict[str, Any]]]:
    """The document eight seconds (of the page's clock) after it was opened, and what came up in its console.

    profile: a folder for the browser's own files. scheme: the colours that the user prefers, light or dark.
    """
    with started(profile, *options) as browser:
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.call("Page.navigate", url=url)
        browser.call("Emulation.setVirtualTimePolicy", policy="pauseIfNetworkFetchesPending", budget=8000)
        browser.wait_for("Emulation.virtualTimeBudgetExpired")
        document = browser.call("Runtime.evaluate", expression="document.documentElement.outerHTML")["result"]["value"]
        return document, browser.console


if __name__ == "__main__":
    sys.exit(installed() is None)
