"""A second opinion on what policies allow: iam-simulate, which shares no code with the emulator's evaluator.

It also knows the Service Authorization Reference: which actions there are, and on which types of resources.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scanners.policies import ACCOUNT

Statements = list[dict[str, Any]]
_NODE = Path(sys.executable).with_name("node")
_SCRIPT = Path(__file__).with_name("iam_simulate.mjs")


@dataclass(frozen=True)
class Question:
    """Whether a role with these statements is allowed. context: the request's condition keys."""

    statements: Statements
    action: str
    resource: str
    context: Mapping[str, str]
    resource_policy: Statements = field(default_factory=list)


def decide(questions: Sequence[Question]) -> list[str]:
    """`Allowed`, `ImplicitlyDenied`, `ExplicitlyDenied`, or what is wrong with the question."""
    policies: dict[str, int] = {}
    requests: list[dict[str, Any]] = []
    for question in questions:
        document = json.dumps(_document(question.statements))
        owner = _owner(question.resource)
        requests.append(
            {
                "identityPolicy": policies.setdefault(document, len(policies)),
                "principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s",
                "action": question.action,
                "resource": {"resource": question.resource, "accountId": owner},
                "contextVariables": question.context,
            }
        )
        # A resource of another account also needs its owner's permission, which AWS grants for the algorithm's image
        if resource_policy := question.resource_policy or ([] if owner == ACCOUNT else _CONSENT):
            requests[-1]["resourcePolicy"] = _document(resource_policy)
    given = json.dumps({"policies": [json.loads(document) for document in policies], "requests": requests})
    answer = subprocess.run(
        [str(_NODE), str(_SCRIPT)], input=given, capture_output=True, text=True, check=True, timeout=300
    )
    decisions: list[str] = json.loads(answer.stdout)
    return decisions


_CONSENT: Statements = [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "ecr:*", "Resource": "*"}]


def _document(statements: Statements) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _owner(resource: str) -> str:
    """The account of an ARN; buckets and `*` name none, and are this account's."""
    parts = resource.split(":")
    return (parts[4] if len(parts) > 4 else "") or ACCOUNT
