"""Enforces Lambda's rule for reserved concurrency: part of the account's quota always stays unreserved.

The emulator accepts any reservation, and its CloudFormation ignores them.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
"""

from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

# In an account with a smaller quota, everything stays unreserved: new accounts get "below its minimum value of [10]"
MINIMUM_UNRESERVED = 100


def register() -> None:
    """Make the emulator's Lambda and CloudFormation enforce the rule."""
    reserve = lambda_svc._put_function_concurrency

    def reserve_within_quota(function_name: str, request: dict[str, Any]) -> Any:
        if why := refusal(function_name, int(request["ReservedConcurrentExecutions"])):
            return error_response_json("InvalidParameterValueException", why, 400)
        return reserve(function_name, request)

    lambda_svc._put_function_concurrency = reserve_within_quota
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create, update = handlers["create"], handlers["update"]

    def create_with_reservation(logical_id: str, properties: Any, stack_name: str) -> Any:
        return _reserved(properties, None, lambda: create(logical_id, properties, stack_name))

    def update_with_reservation(name: str, old: Any, new: Any, *more: Any) -> Any:
        return _reserved(new, name, lambda: update(name, old, new, *more))

    handlers.update({"create": create_with_reservation, "update": update_with_reservation})


def refusal(function_name: str | None, reserved: int) -> str:
    """Why Lambda refuses this reservation; empty if it accepts it. function_name: None for a new one."""
    quota = lambda_svc._ACCOUNT_CONCURRENCY_CAP
    minimum = min(MINIMUM_UNRESERVED, quota)
    others = sum(
        function.get("concurrency") or 0 for name, function in lambda_svc._functions.items() if name != function_name
    )
    if quota - others - reserved >= minimum:
        return ""
    return (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        f"its minimum value of [{minimum}]."
    )


def _reserved(properties: Any, function_name: str | None, provision: Callable[[], Any]) -> Any:
    """Provision a function together with its reservation; raises ValueError, which fails the stack."""
    reserved = properties.get("ReservedConcurrentExecutions")
    if reserved is not None and (why := refusal(function_name, int(reserved))):
        raise ValueError(f"{why} (Service: Lambda, Status Code: 400)")
    name, attributes = provision()
    lambda_svc._functions[name]["concurrency"] = None if reserved is None else int(reserved)
    return name, attributes
