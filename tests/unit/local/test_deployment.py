"""An update of the stand-in's endpoint: traffic shares, rollbacks, and requests that SageMaker refuses."""

from typing import Any

import pytest

from local import clock
from local.sagemaker.deployment import Deployment
from local.sagemaker.endpoint import Endpoint
from local.sagemaker.errors import ApiError, JobFailedError
from local.sagemaker.fault import Fault


def config(**changes: Any) -> dict[str, Any]:
    policy = {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 60,
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 25},
        },
        "TerminationWaitInSeconds": 60,
        "MaximumExecutionTimeoutInSeconds": 600,
        **changes,
    }
    return {
        "BlueGreenUpdatePolicy": policy,
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
    }


def percent(value: int) -> dict[str, Any]:
    size = {"Type": "CAPACITY_PERCENT", "Value": value}
    return {"TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": 60, "CanarySize": size}}


class _Variant:
    name = "AllTraffic"

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    states = {"errors": "OK"}
    monkeypatch.setattr(Deployment, "_states", lambda _: states)
    monkeypatch.setattr(clock, "SCALE", 0.001)
    return states


@pytest.fixture
def endpoint() -> Endpoint:
    endpoint = Endpoint("e")
    endpoint.serve(_Variant())  # type: ignore[arg-type]
    return endpoint


def share(endpoint: Endpoint, variant: object, *, of: int = 2000) -> float:
    return sum(endpoint.next_request(None)[0] is variant for _ in range(of)) / of


def test_a_canary_gets_its_share_and_then_all(
    alarms: dict[str, str], endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    green: Any = _Variant()
    shares: list[float] = []
    monkeypatch.setattr(Deployment, "_bake", lambda *_: shares.append(share(endpoint, green)))
    Deployment(config(), instances=4).run(endpoint, green)
    assert shares[0] == pytest.approx(0.25, abs=0.05)
    assert shares[1] == 1
    assert share(endpoint, green, of=10) == 1
    assert not green.is_closed


def test_an_alarm_sends_all_back_and_ends_the_new_one(alarms: dict[str, str], endpoint: Endpoint) -> None:
    blue = endpoint.next_request(None)[0]
    green: Any = _Variant()
    alarms["errors"] = "ALARM"
    with pytest.raises(JobFailedError, match="alarms in ALARM state: errors"):
        Deployment(config(), instances=4).run(endpoint, green)
    assert share(endpoint, blue, of=10) == 1
    assert green.is_closed


def test_the_old_variant_ends_only_when_the_new_one_has_proved_itself(
    alarms: dict[str, str], endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue: Any = endpoint.next_request(None)[0]
    ended: list[bool] = []
    monkeypatch.setattr(Deployment, "_bake", lambda *_: ended.append(blue.is_closed))
    Deployment(config(), instances=4).run(endpoint, _Variant())  # type: ignore[arg-type]
    assert ended == [False, False]
    assert blue.is_closed


def test_a_fault_for_the_canary_affects_only_the_canary_and_ends_with_it(endpoint: Endpoint) -> None:
    endpoint.faults.extend([Fault(on_canary=True)] * 3)
    assert endpoint.next_request(None)[1] is None
    endpoint.shift(_Variant(), share=1.0)  # type: ignore[arg-type]
    assert endpoint.next_request(None)[1] == Fault(on_canary=True)
    endpoint.go_back()
    assert not endpoint.faults


@pytest.mark.parametrize(
    ("changes", "instances", "message"),
    [
        (percent(100), 1, "at most half of the variant's instances, which are 1"),
        (
            {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "WaitIntervalInSeconds": 60,
                    "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 2},
                }
            },
            3,
            "at most half",
        ),
        (percent(10), 2, "10 % of 2 instances is not a whole instance"),
        (percent(50), 3, "50 % of 3 instances is not a whole instance"),
        (percent(51), 100, "at most half"),
        ({"TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": 0}}, 4, "CanarySize is required"),
        ({"TrafficRoutingConfiguration": {"Type": "LINEAR", "WaitIntervalInSeconds": 0}}, 4, "no LINEAR"),
        ({"TerminationWaitInSeconds": 600}, 4, "above the sum of the waits"),
    ],
)
def test_requests_that_sagemaker_refuses_are_refused(
    alarms: dict[str, str], changes: dict[str, Any], instances: int, message: str
) -> None:
    with pytest.raises(ApiError, match=message):
        Deployment(config(**changes), instances=instances)


def test_an_alarm_that_does_not_exist_is_refused(alarms: dict[str, str]) -> None:
    alarms.clear()
    with pytest.raises(ApiError, match="Could not find alarms"):
        Deployment(config(), instances=4)
