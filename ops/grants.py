"""Converts all policies of an environment to a set of grants: who may do what on which resource."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from ops.canonical import Resource


class Grant(NamedTuple):
    """One action on one resource for one principal."""

    who: str
    effect: str  # Allow or Deny
    action: str
    target: str
    condition: str  # empty without one


def grants(resources: Iterable[Resource]) -> set[Grant]:
    return {grant for resource in resources for grant in _of_resource(resource)}


def _of_resource(resource: Resource) -> Iterator[Grant]:
    properties, itself = resource.properties, f"${{{resource.name}}}"
    match resource.type:
        case "AWS::Lambda::Permission":
            condition = {key: value for key, value in properties.items() if key.startswith(("Source", "Principal"))}
            del condition["Principal"]
            yield from _of_statement({**properties, "Resource": properties["FunctionName"], "Condition": condition}, [])
        case "AWS::IAM::Role":
            yield from _of_document(properties["AssumeRolePolicyDocument"], [], default_target=itself)
            for policy in properties.get("Policies", []):
                yield from _of_document(policy["PolicyDocument"], [itself])
        case "AWS::IAM::Policy" | "AWS::IAM::ManagedPolicy":
            holders = [each for kind in ("Roles", "Users", "Groups") for each in properties.get(kind, [])]
            yield from _of_document(properties["PolicyDocument"], holders or [itself])
        case _:  # the policy of a bucket, a topic, a queue, a key
            for value in properties.values():
                if isinstance(value, Mapping) and isinstance(value.get("Statement"), list):
                    yield from _of_document(value, [], default_target=itself)


def _of_document(document: Mapping[str, Any], holders: list[str], *, default_target: str = "") -> Iterator[Grant]:
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        yield from _of_statement({"Resource": default_target, **statement}, holders)


def _of_statement(statement: Mapping[str, Any], holders: list[str]) -> Iterator[Grant]:
    who = holders or [_principal(each) for each in _each(statement, "Principal")]
    actions, targets = _each(statement, "Action"), _each(statement, "Resource")
    condition = json.dumps(statement["Condition"], sort_keys=True) if statement.get("Condition") else ""
    for holder, action, target in product(who, actions, targets):
        yield Grant(holder, statement.get("Effect", "Allow"), action, target, condition)


def _each(statement: Mapping[str, Any], element: str) -> list[str]:
    """The values of Action, Resource or Principal, or "all but" those of NotAction and its like."""
    excluded = f"Not{element}" in statement
    value = statement.get(f"Not{element}" if excluded else element, "*")
    if isinstance(value, Mapping):  # principals by kind
        value = [each for kind in value.values() for each in (kind if isinstance(kind, list) else [kind])]
    values = [str(each) for each in (value if isinstance(value, list) else [value])]
    return [f"all but {', '.join(values)}"] if excluded else values


def _principal(value: str) -> str:
    return "anyone" if value == "*" else value
