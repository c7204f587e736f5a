"""`pause` and `resume`: refusals before anything starts, and output."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ops import pause, paused
from ops.errors import OpsError
from stacks.config import parse_environment


@pytest.mark.parametrize(
    ("settings", "outputs", "reason"),
    [
        ({}, {}, "dev/Model is not deployed"),
        ({}, {"Model": {"EndpointName": "scones-dev"}}, "or by a version that cannot pause"),
    ],
)
@pytest.mark.parametrize("command", [pause.pause, pause.resume])
def test_a_pause_that_is_impossible_is_refused_with_the_reason(
    command: Any, settings: dict[str, Any], outputs: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause, "load_environment", lambda name: parse_environment(name, settings))
    monkeypatch.setattr(pause, "stack_outputs", lambda _: outputs)
    monkeypatch.setattr(pause, "current_target", lambda: "AWS")
    with pytest.raises(OpsError, match=reason):
        command("dev")


def test_a_pause_prints_what_it_saves_if_the_price_is_known() -> None:
    assert pause._saving(parse_environment("dev", {"endpoint": {"instance_count": 2}})) == (
        ", which saves 168 USD a month (us-east-1's list price)"
    )
    assert not pause._saving(parse_environment("dev", {"endpoint": {"kind": "serverless"}}))


def test_commands_that_need_the_endpoint_report_since_when_it_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse_environment("dev", {})
    monkeypatch.setattr(paused, "paused_since", lambda _: datetime(2026, 11, 26, 18, tzinfo=UTC))
    with pytest.raises(OpsError, match="paused since 2026-11-26 18:00 UTC, and a bulk run invokes it"):
        paused.refuse_while_paused(config, "bucket", needs="a bulk run invokes")
    monkeypatch.setattr(paused, "paused_since", lambda _: None)
    paused.refuse_while_paused(config, "bucket", needs="a bulk run invokes")
