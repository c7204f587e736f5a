"""`python -m local`, as far as it needs no local cloud."""

import pytest

from local import __main__ as command_line
from local.cloud import LocalCloudError
from stacks.config import parse_environment


@pytest.mark.parametrize(
    "command", [command_line.all_, command_line.drift, command_line.retrain, command_line.deploy, command_line.run]
)
def test_an_endpoint_that_only_aws_can_run_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, command: object
) -> None:
    config = parse_environment("dev", {"endpoint": {"kind": "serverless"}})
    monkeypatch.setattr(command_line, "load_environment", lambda _: config)
    assert callable(command)
    with pytest.raises(LocalCloudError, match="has a serverless endpoint, and the local cloud runs realtime ones only"):
        command(env="dev")
