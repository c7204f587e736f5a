"""cdk-nag: its rule packs AWS Solutions, Serverless, NIST 800-53 R5, HIPAA and PCI DSS, over the constructs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aws_cdk import Acknowledgment, App, Stack, Validations
from aws_cdk import aws_iam as iam
from cdk_nag import (
    AwsSolutionsChecks,
    HIPAASecurityChecks,
    NagPack,
    NIST80053R5Checks,
    PCIDSS321Checks,
    ServerlessChecks,
)

from scanners.finding import Finding
from stacks.config import PROJECT_ROOT
from stacks.environment import add_environments
from stacks.shared.scanner_exceptions import wildcard_reason

_PACKS = (AwsSolutionsChecks, ServerlessChecks, NIST80053R5Checks, HIPAASecurityChecks, PCIDSS321Checks)
_WILDCARD_RULE = "AwsSolutions-IAM5"


def scan(output: Path) -> list[Finding]:
    """Synthesize every environment of cdk.json into `output`, and apply every pack.

    A wildcard in a policy that stacks/shared/scanner_exceptions.py gives a reason for is acknowledged where it stands.
    """
    context = json.loads((PROJECT_ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    app = App(context=context, outdir=str(output))
    add_environments(app)
    packs: list[NagPack] = [pack(app) for pack in _PACKS]
    app.synth()  # afterwards, references between stacks have their final form
    for construct in app.node.find_all():
        if isinstance(construct, iam.CfnPolicy | iam.CfnManagedPolicy):
            _accept_explained_wildcards(construct)
    return [finding for pack in packs for finding in _findings(pack, app)]


def _findings(pack: NagPack, app: App) -> Iterator[Finding]:
    for violation in pack.validate_scope(app).violations:
        for resource in violation.violating_resources:
            path = str(resource.construct_path)
            yield Finding("cdk-nag", path.partition("/")[0], violation.rule_name, path, violation.description.strip())


def _accept_explained_wildcards(policy: iam.CfnPolicy | iam.CfnManagedPolicy) -> None:
    document = Stack.of(policy).resolve(policy.policy_document)
    for statement in document["Statement"]:
        resources = statement.get("Resource", [])
        for resource in resources if isinstance(resources, list) else [resources]:
            name = flat(resource)
            if "*" in name and (reason := wildcard_reason(name)):
                acknowledgment = Acknowledgment(id=f"{_WILDCARD_RULE}[Resource::{name}]", reason=reason)
                Validations.of(policy).acknowledge(acknowledgment)


def flat(value: Any) -> str:
    """A resource of a policy in cdk-nag's form: references in angle brackets, other functions as JSON."""
    if isinstance(value, str):
        return value.replace("${", "<").replace("}", ">")
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(map(flat, parts))
    if "Fn::GetAtt" in value:
        return f"<{'.'.join(map(flat, value['Fn::GetAtt']))}>"
    if "Fn::ImportValue" in value:
        return str(value["Fn::ImportValue"])
    if "Ref" in value:
        return f"<{value['Ref']}>"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
