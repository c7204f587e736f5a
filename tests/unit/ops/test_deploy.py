"""`python -m ops deploy`: its order, and the options that it passes to CDK."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber

from data_prep.target import Target
from ops import aws, cdk, deploy, doctor, smoke
from ops.check import Check
from ops.errors import OpsError
from stacks.config import load_environment, parse_environment
from stacks.shared.algorithm import WITHOUT_GPU
from tests.unit.stand_in import client_for


@pytest.fixture(autouse=True)
def _target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "current_target", lambda: Target("111122223333", "us-east-1", "https://example.com"))


@pytest.mark.parametrize("exists", [False, True])
def test_a_parameter_states_whether_the_template_updates_an_endpoint_that_scales(
    monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    client = client_for("sagemaker")
    monkeypatch.setattr(aws, "sagemaker", lambda: client)
    config = parse_environment("prod", {"endpoint": {"instance_count": 2, "max_instance_count": 4}})
    with Stubber(client) as stubber:
        if exists:
            stubber.add_response("describe_endpoint", _DESCRIPTION, {"EndpointName": "scones-prod"})
        else:
            message = 'Could not find endpoint "scones-prod".'
            stubber.add_client_error("describe_endpoint", "ValidationException", message)
        said = deploy._parameters(config)
    assert said == [f"--parameters=scones-prod-Model:EndpointExists={'true' if exists else 'false'}"]


def test_an_endpoint_that_does_not_scale_has_no_such_parameter() -> None:
    assert deploy._parameters(parse_environment("dev", {})) == []


def test_an_environment_is_synthesized_once_alone_and_then_deployed_from_the_assembly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(cdk, "run_cdk", lambda *arguments, **_: ran.append(arguments))
    monkeypatch.setattr(doctor, "examine", lambda _: [])
    for step in ("_prepare_model", "_try_out", "show_outputs"):
        monkeypatch.setattr(deploy, step, lambda *_, **__: None)
    deploy.deploy("dev")
    assert [arguments[0] for arguments in ran] == ["synth", "deploy", "deploy"]
    synth, *deployments = ran
    assert "only=dev" in synth
    assert all(f"--app={cdk.ASSEMBLY}" in arguments for arguments in deployments)


@pytest.mark.parametrize("since", [None, datetime(2026, 11, 26, 18, tzinfo=UTC)])
def test_an_endpoint_that_is_paused_is_not_tried_out(
    since: datetime | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(aws, "bucket", lambda _: "b")
    monkeypatch.setattr(deploy, "paused_since", lambda _: since)
    monkeypatch.setattr(smoke, "smoke_test", lambda config: tried.append(config.name))
    monkeypatch.setattr(smoke, "show", lambda *_: None)
    deploy._try_out(load_environment("dev"))
    assert tried == ([] if since else ["dev"])
    assert ("scones-dev is paused since 2026-11-26 18:00 UTC" in capsys.readouterr().out) == bool(since)


def test_a_problem_stops_it_before_anything_is_created_in_one_line_with_the_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(cdk, "run_cdk", lambda *arguments, **_: ran.append(arguments))
    no_gpu = Check("training instances", "failed", "the account has no GPU to train on", WITHOUT_GPU)
    monkeypatch.setattr(doctor, "examine", lambda _: [Check("region", "ok", "us-east-1"), no_gpu])
    with pytest.raises(OpsError) as raised:
        deploy.deploy("dev")
    assert ran == []
    assert str(raised.value) == (
        "nothing was changed; fix first: training instances: the account has no GPU to train on; "
        'set training.algorithm: "scikit-learn" in cdk.json, which needs no GPU'
    )


_DESCRIPTION: dict[str, Any] = {
    "EndpointName": "scones-prod",
    "EndpointArn": "arn:aws:sagemaker:us-east-1:111122223333:endpoint/scones-prod",
    "EndpointStatus": "InService",
    "CreationTime": 0,
    "LastModifiedTime": 0,
}
