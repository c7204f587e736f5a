"""A grant is taken from a role of the running environment, or narrowed to a wrong place: something must fail."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError

from local.demonstration import UnexpectedError

# What the local cloud refuses: the emulator by itself, and SageMaker's stand-in by local/permissions.py
ENFORCED = (
    *("lambda:InvokeFunction", "s3:", "sns:", "ssm:"),
    *("cloudwatch:DescribeAlarms", "events:", "iam:PassRole", "sagemaker:"),
    *("cloudformation:", "states:ListExecutions", "states:StartExecution"),
)
# S3 answers 403 instead of 404 for a missing object to whoever may not list; the emulator always 404
UNSEEN = {
    (f"{function}Role", "s3:ListBucket")
    for function in (
        "SerializeImageData",
        "FindPredictions",
        "ReadTransformOutput",
        "RetrainingGuard",
        "ValidateDataSet",
        "PrepareTraining",
        "EvaluateModels",
        "SmokeTest",
        "RecordRelease",
    )
} | {
    (f"{machine}Role", "states:StartExecution") for machine in ("DistributedMap", "BatchTransform")
}  # of their children


@dataclass(frozen=True)
class Mutant:
    """One policy of a role with one statement removed, or one resource narrowed to a wrong place."""

    name: str
    role: str
    policy: str
    original: str
    document: str


def mutants(role_part: str) -> Iterator[Mutant]:
    iam: Any = boto3.client("iam")
    (role,) = [r["RoleName"] for r in iam.list_roles(MaxItems=1000)["Roles"] if f"-{role_part}" in r["RoleName"]]
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document: dict[str, Any] = dict(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"])
        for index, statement in enumerate(document["Statement"]):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            if not actions[0].startswith(ENFORCED) or (role_part, actions[0]) in UNSEEN:
                continue
            resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            changes: dict[str, list[dict[str, Any]]] = {"removed": []}
            for resource in resources:
                if not _goes_unasked(resource):
                    narrowed = copy.deepcopy(statement)
                    narrowed["Resource"] = [
                        resource.replace("*", "wrong/*") + "-wrong" if r == resource else r
                        for r in resources
                        if r != f"{resource}:*"
                    ]
                    changes[f"wrong {resource.rpartition(':')[2]}"] = [narrowed]
            for change, replacement in changes.items():
                mutated = {
                    **document,
                    "Statement": [*document["Statement"][:index], *replacement, *document["Statement"][index + 1 :]],
                }
                yield Mutant(
                    f"{role_part} {','.join(actions)} {change}", role, policy, json.dumps(document), json.dumps(mutated)
                )


def _goes_unasked(resource: str) -> bool:
    """Versions beside their function."""
    return resource.endswith(":*")


def assert_each_grant_is_needed(role_part: str, works: Callable[[], None]) -> None:
    """`works` fails with an AssertionError, UnexpectedError or ClientError when something does not."""
    iam = boto3.client("iam")
    works()
    tried, survived = [], []
    for mutant in mutants(role_part):
        iam.put_role_policy(RoleName=mutant.role, PolicyName=mutant.policy, PolicyDocument=mutant.document)
        try:
            works()
            survived.append(mutant.name)
        except (AssertionError, UnexpectedError, ClientError):
            pass
        finally:
            iam.put_role_policy(RoleName=mutant.role, PolicyName=mutant.policy, PolicyDocument=mutant.original)
        tried.append(mutant.name)
    works()
    print(f"{role_part}: {len(tried)} mutants")  # noqa: T201 - the figure for docs/security.md
    assert tried
    assert not survived, survived
