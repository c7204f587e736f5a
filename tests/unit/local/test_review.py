"""The review scenario: its preconditions, and the load that it puts on the endpoint."""

from pathlib import Path
from typing import Any

import pytest

from local import browser, review
from local.browser import NoBrowserError
from local.retraining import CLIENTS
from local.review import clients_of
from stacks.config import EndpointConfig


def test_without_a_browser_the_scenario_fails_before_anything_is_started(
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


@pytest.mark.parametrize(
    ("settings", "clients"),
    [
        ({}, CLIENTS),
        ({"kind": "serverless", "serverless_max_concurrency": 10}, 9),
        ({"kind": "serverless", "serverless_max_concurrency": 1}, 1),
        ({"kind": "serverless", "serverless_max_concurrency": 200}, CLIENTS),
    ],
)
def test_no_more_clients_send_requests_than_a_serverless_endpoint_takes(settings: dict[str, Any], clients: int) -> None:
    assert clients_of(EndpointConfig(**settings)) == clients
