"""The concurrency that an account's functions may reserve, in the local cloud as on AWS."""

import json
from typing import Any

import pytest
from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

from local import lambda_concurrency


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The functions of an account with the default quota, two of which have reserved 800."""
    functions: dict[str, Any] = {"a": {"concurrency": 500}, "b": {"concurrency": 300}, "c": {"concurrency": None}}

    def provision(name: str, *_: object) -> tuple[str, dict[str, str]]:
        functions.setdefault(name, {"concurrency": None})
        return name, {}

    monkeypatch.setattr(lambda_svc, "_functions", functions)
    monkeypatch.setattr(lambda_svc, "_ACCOUNT_CONCURRENCY_CAP", 1000)
    monkeypatch.setattr(lambda_svc, "_put_function_concurrency", lambda_svc._put_function_concurrency)
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    monkeypatch.setitem(handlers, "create", provision)
    monkeypatch.setitem(handlers, "update", provision)
    lambda_concurrency.register()
    return functions


def put(function: str, reserved: int) -> dict[str, Any]:
    _, _, body = lambda_svc._put_function_concurrency(function, {"ReservedConcurrentExecutions": reserved})
    answer: dict[str, Any] = json.loads(body)
    return answer


def test_a_hundred_of_the_quota_stay_unreserved(functions: dict[str, Any]) -> None:
    refused = put("c", 101)
    assert refused["__type"] == "InvalidParameterValueException"
    assert "below its minimum value of [100]" in str(refused)
    assert functions["c"]["concurrency"] is None
    assert put("c", 100) == {"ReservedConcurrentExecutions": 100}


def test_a_functions_own_reservation_counts_once(functions: dict[str, Any]) -> None:
    assert put("a", 600) == {"ReservedConcurrentExecutions": 600}


@pytest.mark.parametrize("quota", [10, 50, 100])
def test_a_new_account_can_reserve_nothing(
    functions: dict[str, Any], monkeypatch: pytest.MonkeyPatch, quota: int
) -> None:
    functions.update({"a": {"concurrency": None}, "b": {"concurrency": None}})
    monkeypatch.setattr(lambda_svc, "_ACCOUNT_CONCURRENCY_CAP", quota)
    assert f"below its minimum value of [{quota}]" in str(put("c", 1))
    assert put("c", 0) == {"ReservedConcurrentExecutions": 0}


def test_a_stack_is_refused_as_a_call_is(functions: dict[str, Any]) -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    with pytest.raises(ValueError, match=r"below its minimum value of \[100\]"):
        handlers["create"]("d", {"ReservedConcurrentExecutions": 101}, "stack")
    assert "d" not in functions
    with pytest.raises(ValueError, match=r"below its minimum value of \[100\]"):
        handlers["update"]("c", {}, {"ReservedConcurrentExecutions": 101}, "stack")


def test_a_stack_reserves_and_takes_back(functions: dict[str, Any]) -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    handlers["create"]("d", {"ReservedConcurrentExecutions": "50"}, "stack")
    assert functions["d"]["concurrency"] == 50
    handlers["update"]("d", {}, {}, "stack")
    assert functions["d"]["concurrency"] is None
