"""Authorization in the emulator: which clients it accepts, and IAM decisions for the stand-in and for state machines.

The stand-in for SageMaker is another process, and has only the access key that signed a request. The emulator has the
key's owner and policies, so the stand-in queries it at PATH (local/sagemaker/authorization.py).
"""

import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import ministack.app
from ministack.core import iam_evaluator, lambda_runtime
from ministack.core.router import extract_access_key_id
from ministack.services import lambda_svc, sts

from local import request_guard
from local.permissions import CALLER, EXECUTION_ROLE, Permission
from local.sagemaker.authorization import PATH, UNKNOWN_KEY

_log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def register() -> None:
    """Refuse unknown clients before their requests reach the emulator's application, and serve PATH."""
    give_functions_keys_of_this_start()
    log_refusals()
    emulator = ministack.app.app
    port = int(os.environ["GATEWAY_PORT"])

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await emulator(scope, receive, send)
        elif why := _stranger(scope, port=port):
            await _refuse(scope, send, why)
        elif scope["path"] == PATH:
            question = json.loads(await _body(receive))
            permissions = [Permission(**permission) for permission in question.pop("permissions")]
            await _answer(send, 200, {"refusal": refusal(permissions, **question)})
        else:
            await emulator(scope, receive, _without_cors(send))

    ministack.app.app = application


def _stranger(scope: Any, *, port: int) -> str:
    """Why every request of this client is refused; "" if the client is accepted."""
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    if why := request_guard.refusal(headers, port=port):
        return why
    query = parse_qs(scope["query_string"].decode("latin-1"))
    return "" if is_known(extract_access_key_id(dict(headers), query)) else UNKNOWN_KEY


def is_known(access_key: str) -> bool:
    """Whether the key belongs to this start, or the emulator has issued it since.

    The emulator itself would accept `test`, any account number or no key at all as the account's own, and does not
    check signatures. That is why the id of this key is as long and random as a secret.
    """
    return (
        access_key == os.environ["AWS_ACCESS_KEY_ID"]
        or access_key in sts._sessions
        or iam_evaluator.find_iam_access_key_account(access_key) is not None
    )


def give_functions_keys_of_this_start() -> None:
    """Gives functions an accepted key; the emulator's is the account number or, with IAM enforced, the role's name."""
    credentials_by_name = lambda_runtime.execution_credentials
    salt = secrets.token_hex(16)

    def execution_credentials(config: dict[str, Any]) -> dict[str, str]:
        if not ministack.app.AUTH:
            own = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
            return {**{name: os.environ[name] for name in own}, "AWS_SESSION_TOKEN": ""}
        credentials: dict[str, str] = credentials_by_name({**config, "FunctionArn": f"{config['FunctionArn']}:{salt}"})
        return credentials

    lambda_runtime.execution_credentials = lambda_svc.execution_credentials = execution_credentials


def log_refusals() -> None:
    """Write what IAM refuses to the emulator's log, as CloudTrail has it on AWS: not every caller passes it on."""
    decide = iam_evaluator.enforce

    def enforce(
        access_key: str, action: str, service: str, region: str, resource_arn: str = "*", **context: Any
    ) -> Any:
        refused = decide(access_key, action, service, region, resource_arn=resource_arn, **context)
        if isinstance(refused, iam_evaluator.EvalResult):
            _log.warning("refused %s: %s on %s", refused.principal_arn, action, resource_arn)
        return refused

    iam_evaluator.enforce = enforce


def _without_cors(send: Send) -> Send:
    """Removes the emulator's headers that allow every origin."""

    async def send_without_cors(message: dict[str, Any]) -> None:
        if "headers" in message:
            kept = [field for field in message["headers"] if not field[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": kept}
        await send(message)

    return send_without_cors


async def _refuse(scope: Any, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await _answer(send, 403, {"__type": "UnrecognizedClientException", "message": why})


async def _answer(send: Send, status: int, content: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def refusal(permissions: Sequence[Permission], *, access_key: str, execution_role: str = "") -> str:
    """IAM's reason for refusing one of the permissions; "" if it refuses none, or is not enforced yet.

    An unknown key is always refused.
    """
    if not is_known(access_key):
        return UNKNOWN_KEY
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
    """Why the owner of this access key is refused; "" if allowed."""
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
    """A session of an execution role, such as the emulator gives to each function."""
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
