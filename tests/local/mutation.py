"""A role of the running environment has none of its grants, and gets each back when something fails without it."""

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import boto3
from botocore.exceptions import ClientError

from local.cloud import LocalCloud
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
class Grant:
    """One resource of a statement, with all of the statement's actions."""

    policy: str
    statement: int  # its place in the policy
    actions: tuple[str, ...]
    resource: str

    def __str__(self) -> str:
        return f"{','.join(self.actions)} on {self.resource}"

    def allows(self, action: str, resource: str) -> bool:
        return fnmatchcase(resource, self.resource) and any(fnmatchcase(action, each) for each in self.actions)


@dataclass(frozen=True)
class Role:
    """A role with the policies that it was deployed with."""

    name: str
    policies: dict[str, dict[str, Any]]

    @classmethod
    def deployed(cls, part: str) -> "Role":
        """The role whose name has this part."""
        iam: Any = boto3.client("iam")
        (name,) = [r["RoleName"] for r in iam.list_roles(MaxItems=1000)["Roles"] if f"-{part}" in r["RoleName"]]
        names = iam.list_role_policies(RoleName=name)["PolicyNames"]
        return cls(name, {p: dict(iam.get_role_policy(RoleName=name, PolicyName=p)["PolicyDocument"]) for p in names})

    def grants(self) -> list[Grant]:
        return [
            Grant(policy, number, tuple(_listed(statement["Action"])), resource)
            for policy, document in self.policies.items()
            for number, statement in enumerate(document["Statement"])
            for resource in _listed(statement["Resource"])
            if not resource.endswith(":*")  # versions, which go with their function
        ]

    def withhold(self, grants: Collection[Grant]) -> None:
        """From now on the role has its policies without these."""
        for policy, document in self.policies.items():
            statements = []
            for number, statement in enumerate(document["Statement"]):
                without = {grant.resource for grant in grants if (grant.policy, grant.statement) == (policy, number)}
                if kept := [r for r in _listed(statement["Resource"]) if r.removesuffix(":*") not in without]:
                    statements.append({**statement, "Resource": kept})
            narrowed = json.dumps({**document, "Statement": statements})
            boto3.client("iam").put_role_policy(RoleName=self.name, PolicyName=policy, PolicyDocument=narrowed)


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def assert_each_grant_is_needed(
    cloud: LocalCloud, role_part: str, *steps: Callable[[], object], recover: Callable[[], None] = lambda: None
) -> None:
    """Do each step until it works, and before the next try give the role what IAM refused it last.

    What it still lacks at the end is not needed.

    steps: each fails with an AssertionError, UnexpectedError or ClientError when something does not work.
    recover: what has to be done after a step has failed on its way.
    """
    role, log = Role.deployed(role_part), cloud.directory / "local.emulator.log"
    grants = [g for g in role.grants() if g.actions[0].startswith(ENFORCED) and (role_part, g.actions[0]) not in UNSEEN]
    assert grants
    withheld = list(grants)
    try:
        for works in steps:
            while True:
                role.withhold(withheld)
                begun = log.stat().st_size
                try:
                    works()
                    break
                except (AssertionError, UnexpectedError, ClientError):
                    requests = _refused(role, log.read_bytes()[begun:].decode())
                    refused = [grant for request in requests for grant in withheld if grant.allows(*request)]
                    if not refused:
                        raise
                    withheld.remove(refused[-1])
                role.withhold([])
                recover()
    finally:
        role.withhold([])
    assert not withheld, f"nothing fails without {', '.join(map(str, withheld))}"


def _refused(role: Role, log: str) -> list[tuple[str, str]]:
    """Action and resource of what IAM has refused the role, by the emulator's log."""
    return re.findall(rf"refused \S+:assumed-role/{re.escape(role.name)}/\S+: (\S+) on (\S+)", log)
