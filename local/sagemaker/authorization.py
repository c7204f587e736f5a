"""Authorizes the stand-in's callers and their execution roles with the emulator, which has the policies."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

import urllib3

from local.permissions import Permission
from local.request_guard import naming

PATH = "/_local/authorization"
UNKNOWN_KEY = "The security token included in the request is invalid."
_TIMEOUT_SECONDS = 10
_emulator = urllib3.PoolManager(maxsize=16)  # it keeps connections: a new one costs the emulator half of an answer
_known: set[str] = set()
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
    response = _emulator.request(
        "POST",
        f"{os.environ['AWS_ENDPOINT_URL']}{PATH}",
        body=json.dumps(question),
        headers=naming(os.environ["AWS_ACCESS_KEY_ID"]),
        timeout=_TIMEOUT_SECONDS,
    )
    return str(response.json()["refusal"])


def is_known(access_key: str) -> bool:
    """Whether the key belongs to this start, or the emulator has issued it since.

    It is asked once about each: where a permission is needed, the emulator looks at the key again.
    """
    if access_key not in {*_known, os.environ["AWS_ACCESS_KEY_ID"]}:
        if ask_emulator([], access_key=access_key, execution_role=""):
            return False
        _known.add(access_key)
    return True


def allow_all(permissions: Sequence[Permission], *, access_key: str, execution_role: str) -> str:  # noqa: ARG001
    """Without an emulator there are no policies."""
    return ""


def access_key_of(authorization: str) -> str:
    """The access key that signed a request, from its Authorization header; empty if unsigned."""
    match = _CREDENTIAL.search(authorization)
    return match[1] if match else ""
