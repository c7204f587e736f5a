"""Templates of one stack with few resources, as CDK writes them."""

import json
from typing import Any

from ops.templates import Assembly

Resources = dict[str, dict[str, Any]]


def assembly(resources: Resources, *, environment: str = "dev", **sections: Any) -> Assembly:
    """An environment with one stack, Data."""
    stack = f"{environment}/Data"
    return Assembly({stack: {"Resources": resources, **sections}}, {stack: f"scones-{environment}-Data"})


def both(*parts: Assembly) -> Assembly:
    return Assembly(
        {stack: template for part in parts for stack, template in part.templates.items()},
        {stack: name for part in parts for stack, name in part.stack_names.items()},
    )


def resource(kind: str, name: str, properties: dict[str, Any] | None = None, **attributes: Any) -> dict[str, Any]:
    """A resource whose construct is Data/<name>."""
    path = {"aws:cdk:path": f"dev/Data/{name}/Resource"}
    return {"Type": f"AWS::{kind}", "Properties": properties or {}, "Metadata": path, **attributes}


def bucket(name: str = "Bucket", *, retained: bool = False, **properties: Any) -> dict[str, Any]:
    policy = "Retain" if retained else "Delete"
    return resource("S3::Bucket", name, properties, DeletionPolicy=policy, UpdateReplacePolicy=policy)


def function(name: str, code: str = "a", **variables: Any) -> dict[str, Any]:
    properties = {"Code": {"S3Key": f"{code * 64}.zip"}, "Environment": {"Variables": variables}}
    return resource("Lambda::Function", name, properties)


def machine(name: str, **states: Any) -> dict[str, Any]:
    """A state machine, its definition as text in which a reference stands."""
    definition = '{"StartAt": "First", "States": ' + json.dumps(states) + ', "Comment": "'
    return resource(
        "StepFunctions::StateMachine", name, {"DefinitionString": {"Fn::Join": ["", [definition, {"Ref": "B"}, '"}']]}}
    )


def substituted(name: str, **states: Any) -> dict[str, Any]:
    """The same, with a placeholder where the reference stands."""
    definition = json.dumps({"StartAt": "First", "States": states, "Comment": "${Bucket}"})
    substitutions = {"Bucket": {"Ref": "B"}}
    return resource(
        "StepFunctions::StateMachine",
        name,
        {"DefinitionString": definition, "DefinitionSubstitutions": substitutions},
    )


def role(name: str = "Role", *trust: dict[str, Any]) -> dict[str, Any]:
    return resource("IAM::Role", name, {"AssumeRolePolicyDocument": {"Statement": list(trust)}})


def policy(*statements: dict[str, Any], holder: str = "R", name: str = "Role/Policy") -> dict[str, Any]:
    return resource(
        "IAM::Policy", name, {"PolicyDocument": {"Statement": list(statements)}, "Roles": [{"Ref": holder}]}
    )


def allow(action: Any, target: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": target, **more}
