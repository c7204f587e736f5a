"""Authorizes the stand-in's callers and their execution roles with the emulator, which has the policies."""

import json
import os
import re
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from local.permissions import Permission
from local.request_guard import naming

PATH = "/_local/authorization"
UNKNOWN_KEY = "The security token included in the request is invalid."
_CREDENTIAL = re.compile(r"Credential=([^/]+)/")


class Authorize(Protocol):
    """Why IAM refuses a call that needs these permissions; empty if it allows the call."""

    def __call__(self, permissions: Sequence[Permission], *, access_key: str, execution_role: str) -> str: ...


def ask_emulator(permissions: Sequence[Permission], *, access_key: str, execution_role: str) -> str:
    question = {
        "permissions": [asdict(permission) for permission in permissions],
        "access_key": access_key,
        "execution_role": execution_role,
    }
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{os.environ['AWS_ENDPOINT_URL']}{PATH}",
        data=json.dumps(question).encode(),
        headers=naming(os.environ["AWS_ACCESS_KEY_ID"]),
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return str(json.load(response)["refusal"])


def is_known(access_key: str) -> bool:
    """Whether the key belongs to this start, or the emulator has issued it since."""
    own = os.environ["AWS_ACCESS_KEY_ID"]
    return access_key == own or not ask_emulator([], access_key=access_key, execution_role="")


def allow_all(permissions: Sequence[Permission], *, access_key: str, execution_role: str) -> str:  # noqa: ARG001
    """Without an emulator there are no policies."""
    return ""


def access_key_of(authorization: str) -> str:
    """The access key that signed a request, from its Authorization header; empty if unsigned."""
    match = _CREDENTIAL.search(authorization)
    return match[1] if match else ""
