"""Lets the emulator's CloudFormation create budgets. Nothing costs money here, so they never notify anyone."""

import json
from typing import Any

import botocore.session
from botocore.model import StructureShape
from botocore.validate import ParamValidator
from ministack.core.responses import get_account_id
from ministack.services import budgets
from ministack.services.cloudformation import provisioners

Properties = dict[str, Any]


def register() -> None:
    provisioners._RESOURCE_HANDLERS["AWS::Budgets::Budget"] = {
        "create": _create,
        "update": _update,
        "delete": lambda name, _: _call(budgets._delete_budget, {"AccountId": get_account_id(), "BudgetName": name}),
    }


def _create(logical_id: str, properties: Properties, stack_name: str) -> tuple[str, dict[str, str]]:  # noqa: ARG001
    name = str(properties["Budget"]["BudgetName"])
    request = _request(properties)
    service = botocore.session.get_session().get_service_model("budgets")
    shape = service.operation_model("CreateBudget").input_shape
    if not isinstance(shape, StructureShape):
        raise TypeError("CreateBudget takes nothing")
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        raise ValueError(f"budget {name}: {report.generate_report()}")
    _call(budgets._create_budget, request)
    return name, {}


def _update(name: str, old: Properties, properties: Properties, stack_name: str) -> tuple[str, dict[str, str]]:  # noqa: ARG001
    _call(budgets._delete_budget, {"AccountId": get_account_id(), "BudgetName": name})
    return _create("", properties, stack_name)


def _request(properties: Properties) -> Properties:
    """The template's properties in the API's form, in which an amount is text."""
    budget = dict(properties["Budget"])
    if "BudgetLimit" in budget:
        budget["BudgetLimit"] = {**budget["BudgetLimit"], "Amount": str(budget["BudgetLimit"]["Amount"])}
    notifications = [
        {**each, "Notification": {**each["Notification"], "Threshold": float(each["Notification"]["Threshold"])}}
        for each in properties.get("NotificationsWithSubscribers", [])
    ]
    tags = {"ResourceTags": properties["ResourceTags"]} if "ResourceTags" in properties else {}
    return {"AccountId": get_account_id(), "Budget": budget, "NotificationsWithSubscribers": notifications, **tags}


def _call(operation: Any, request: Properties) -> None:
    status, _, body = operation(request)
    if status >= 400:
        raise ValueError(json.loads(body)["message"])
