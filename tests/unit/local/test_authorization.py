"""The stand-in refuses callers and execution roles that IAM refuses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ministack.app
import pytest
from ministack.core import iam_evaluator

from local import authorization
from local.permissions import CALLER, EXECUTION_ROLE, Permission
from local.sagemaker import authorization as stand_ins
from local.sagemaker.authorization import UNKNOWN_KEY, access_key_of
from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.errors import ApiError

ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"
KEY = "arn:aws:kms:us-east-1:000000000000:key/k"
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Pairs of access key and action that the emulator's IAM, which is on, allows."""
    allowed: set[tuple[str, str]] = set()

    def enforce(access_key: str, action: str, service: str, *_: object, **__: object) -> Any:
        assert action.startswith(f"{service}:")
        if (access_key, action) in allowed:
            return None
        return iam_evaluator.EvalResult("ImplicitDeny", principal_arn=f"arn:of:{access_key}")

    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(ministack.app, "AUTH", True)
    monkeypatch.setattr(iam_evaluator, "enforce", enforce)
    monkeypatch.setattr(authorization, "is_known", lambda access_key: access_key != "nobody's")
    monkeypatch.setattr(authorization, "credentials_of", lambda role: {"AWS_ACCESS_KEY_ID": f"key of {role}"})
    return allowed


def refusal(*permissions: Permission) -> str:
    return authorization.refusal(permissions, access_key="caller's", execution_role="role")


def test_each_permission_is_asked_of_the_principal_that_needs_it(allowed: set[tuple[str, str]]) -> None:
    permissions = (Permission("a:A", "*"), Permission("b:B", "r", principals=(EXECUTION_ROLE,)))
    assert refusal(*permissions).startswith("User: arn:of:caller's is not authorized to perform: a:A on resource: *")
    allowed |= {("caller's", "a:A"), ("caller's", "b:B")}
    assert refusal(*permissions).startswith("User: arn:of:key of role is not authorized to perform: b:B on resource: r")
    allowed.add(("key of role", "b:B"))
    assert refusal(*permissions) == ""


def test_one_of_two_principals_must_have_the_permission(allowed: set[tuple[str, str]]) -> None:
    either = Permission("a:A", "*", principals=(EXECUTION_ROLE, CALLER))
    assert refusal(either)
    allowed.add(("caller's", "a:A"))
    assert refusal(either) == ""


def test_nothing_is_refused_before_iam_is_enforced(
    allowed: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ministack.app, "AUTH", False)
    assert refusal(Permission("a:A", "*")) == ""


def test_refusals_by_iam_are_in_the_log(
    allowed: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(iam_evaluator, "enforce", iam_evaluator.enforce)  # undone at the end
    authorization.log_refusals()
    allowed.add(("caller's", "a:A"))
    assert refusal(Permission("a:A", "*")) == ""
    assert caplog.messages == []
    assert refusal(Permission("b:B", "r"))
    assert caplog.messages == ["refused arn:of:caller's: b:B on r"]


@pytest.mark.parametrize("enforced", [True, False])
def test_a_key_that_was_never_issued_is_always_refused(
    allowed: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, enforced: bool
) -> None:
    monkeypatch.setattr(ministack.app, "AUTH", enforced)
    assert authorization.refusal([], access_key="nobody's") == UNKNOWN_KEY


def test_the_stand_in_asks_about_a_key_until_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [UNKNOWN_KEY, "", UNKNOWN_KEY]

    def ask(permissions: Sequence[Permission], **_: str) -> str:
        assert not permissions
        return answers.pop(0)

    monkeypatch.setattr(stand_ins, "ask_emulator", ask)
    monkeypatch.setattr(stand_ins, "_known", set())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-this-start")
    keys = ["of-this-start", "issued", "issued", "issued", "another"]
    assert [stand_ins.is_known(key) for key in keys] == [True, False, True, True, False]
    assert not answers


def test_the_caller_is_read_from_the_signature() -> None:
    header = "AWS4-HMAC-SHA256 Credential=ASIAX/20261125/us-east-1/sagemaker/aws4_request, SignedHeaders=h, Signature=s"
    assert access_key_of(header) == "ASIAX"
    assert access_key_of("") == ""


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[ControlPlane, set[str]]:
    """A control plane with a served model, and the actions that IAM refuses; the alarms exist."""
    refused: set[str] = set()

    def authorize(permissions: Sequence[Permission], *, access_key: str, execution_role: str) -> str:
        assert access_key == "caller's"
        assert execution_role in {"", ROLE}
        return next((f"no {p.action} on {p.resource}" for p in permissions if p.action in refused), "")

    monkeypatch.setattr(ControlPlane, "_in_background", lambda *_: None)
    monkeypatch.setattr("local.sagemaker.deployment.Deployment._states", lambda _: {"a": "OK"})
    control_plane = ControlPlane(cache=tmp_path, authorize=authorize)
    container = {"Image": "i", "ModelDataUrl": "s3://b/k"}
    for operation, request in (
        ("CreateModel", {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": container}),
        ("CreateEndpointConfig", {"EndpointConfigName": "c", "KmsKeyId": KEY, "ProductionVariants": [VARIANT]}),
        ("CreateEndpointConfig", {"EndpointConfigName": "new", "KmsKeyId": KEY, "ProductionVariants": [VARIANT]}),
        ("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
    ):
        control_plane.call(operation, request, access_key="caller's")
    control_plane._endpoint_records["e"]["EndpointStatus"] = "InService"
    return control_plane, refused


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("sagemaker:UpdateEndpoint", "endpoint/e"),
        ("cloudwatch:DescribeAlarms", "alarm:a"),
        ("kms:CreateGrant", KEY),
    ],
)
def test_an_update_is_refused_and_nothing_changes_while_a_permission_is_missing(
    refused: tuple[ControlPlane, set[str]], action: str, resource: str
) -> None:
    control_plane, missing = refused
    policy = {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}}
    request = {
        "EndpointName": "e",
        "EndpointConfigName": "new",
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": policy,
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]},
        },
    }
    missing.add(action)
    with pytest.raises(ApiError, match=f"no {action} on .*{resource}") as caught:
        control_plane.call("UpdateEndpoint", request, access_key="caller's")
    assert caught.value.code == "AccessDeniedException"
    assert control_plane._endpoint_records["e"]["EndpointStatus"] == "InService"
    missing.clear()
    control_plane.call("UpdateEndpoint", request, access_key="caller's")
    assert control_plane._endpoint_records["e"]["EndpointStatus"] == "Updating"
