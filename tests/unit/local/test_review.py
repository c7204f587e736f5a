"""The review scenario before it begins."""

from pathlib import Path
from typing import Any

import pytest

from local import browser, review
from local.browser import NoBrowserError


def test_a_machine_without_a_browser_is_told_so_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(browser, "NAMES", ("chromium",))
    monkeypatch.setattr(browser, "PACKAGED", tmp_path)
    monkeypatch.setattr(review, "deployed", unexpected)
    with pytest.raises(NoBrowserError, match="no Chromium, Chrome or Edge is installed: run `make browser`"):
        review.review()
