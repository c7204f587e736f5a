"""The emulator's IAM, for SageMaker's stand-in and for what state machines do beside calling it.

The stand-in is another process and knows of a caller only the access key that signed the request; the emulator knows
whose key that is, and what it may do. So the stand-in asks at PATH (local/sagemaker/authorization.py).
"""

import json
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import ministack.app
from ministack.core import iam_evaluator, lambda_runtime

from local.permissions import CALLER, EXECUTION_ROLE, Permission
from local.sagemaker.authorization import PATH

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def register() -> None:
    """Answer at PATH in front of the emulator's own application."""
    emulator = ministack.app.app

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await emulator(scope, receive, send)
            return
        question = json.loads(await _body(receive))
        permissions = [Permission(**permission) for permission in question.pop("permissions")]
        answer = json.dumps({"refusal": refusal(permissions, **question)}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": answer})

    ministack.app.app = application


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def refusal(permissions: Sequence[Permission], *, access_key: str, execution_role: str = "") -> str:
    """Why IAM refuses one of the permissions, in its own words; empty if none, or while it is not enforced."""
    if not ministack.app.AUTH:
        return ""
    keys = {CALLER: access_key}
    if execution_role:
        keys[EXECUTION_ROLE] = credentials_of(execution_role)["AWS_ACCESS_KEY_ID"]
    for permission in permissions:
        denials = [_denial(keys[principal], permission) for principal in permission.principals if principal in keys]
        if all(denials):
            return denials[0]
    return ""


def _denial(access_key: str, permission: Permission) -> str:
    """Why the one who has this access key may not; empty if they may."""
    action, resource = permission.action, permission.resource
    denied = iam_evaluator.enforce(
        access_key,
        action,
        action.partition(":")[0],
        os.environ["AWS_REGION"],
        resource_arn=resource,
        service_context=dict(permission.context),
    )
    if denied is None:
        return ""
    if isinstance(denied, iam_evaluator.AuthError):
        return str(denied.message)
    return (
        f"User: {denied.principal_arn} is not authorized to perform: {action} on resource: {resource} because no "
        f"identity-based policy allows the {action} action"
    )


def credentials_of(role_arn: str) -> dict[str, str]:
    """A session of an execution role, as the emulator gives one to each function."""
    _, _, _, _, account, role = role_arn.split(":", 5)
    name = role.removeprefix("role/")
    credentials: dict[str, str] = lambda_runtime.execution_credentials(
        {
            "FunctionArn": f"arn:aws:lambda:{os.environ['AWS_REGION']}:{account}:function:{name}",
            "FunctionName": name,
            "Role": role_arn,
        }
    )
    return credentials
