"""One Chromium for the tests of a module, and an empty page in it for each test."""

from collections.abc import Iterator

import pytest

from tests.integration.browser import LOOPBACK_ONLY, Browser, started


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile"), LOOPBACK_ONLY) as found:
        yield found


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.start_over()
    return chromium
