"""Rules for every template. The scanners' rules are in test_scanner_exceptions.py."""

import json
import re
import subprocess
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from ops.region import WITHOUT
from scanners.policies import ACCOUNT
from stacks.config import PROJECT_ROOT
from stacks.shared.registry_accounts import IMAGE_CLASSIFICATION
from tests.conftest import LONGEST_NAME
from tests.infrastructure.conftest import definitions_of
from tests.infrastructure.delivery.test_boundary import HANDLERS

# CloudFormation's schemas, read from cfn-lint's files, because importing cfn-lint takes 1 s
_SCHEMAS = Path(str(distribution("cfn-lint").locate_file("cfnlint/data/schemas")))
SCHEMAS = _SCHEMAS / "providers"


def test_no_managed_policy(assembly: Path, environment: str) -> None:
    for path in (assembly / f"assembly-{environment}").glob("*.template.json"):
        for resource in json.loads(path.read_text())["Resources"].values():
            if resource["Type"] == "AWS::IAM::Role":
                assert "ManagedPolicyArns" not in resource["Properties"]


def test_every_definition_is_valid_jsonata_asl(assembly: Path, tmp_path: Path) -> None:
    definitions = [*definitions_of(assembly, "dev"), *definitions_of(assembly, "prod")]
    assert len(definitions) >= 8
    options = []
    for number, definition in enumerate(definitions):
        assert definition["QueryLanguage"] == "JSONata"
        path = tmp_path / f"{number}.asl.json"
        path.write_text(json.dumps(definition).replace("<AWS::Partition>", "aws"))
        options += ["--json-path", str(path)]
    validator = PROJECT_ROOT / "node_modules" / ".bin" / "asl-validator"
    result = subprocess.run([validator, *options], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_region_lacks_exactly_the_types_that_its_cloudformation_schemas_lack() -> None:
    """Of all types of resources that an environment can have, which are the keys of HANDLERS."""
    lacking: dict[str, set[str]] = {}
    for region in IMAGE_CLASSIFICATION:
        path = SCHEMAS / f"{region}.json"
        # AWS does not publish the schemas of the isolated partitions
        if path.exists() and not region.startswith("us-iso"):
            for name in HANDLERS.keys() - json.loads(path.read_text()).keys():
                lacking.setdefault(name, set()).add(region)
    known = {name: set(regions.split()) for name, regions in WITHOUT.items()}
    assert {name: lacking[name] for name in known} == known
    for name, regions in lacking.items():
        assert any(regions <= others for others in known.values()), name


# In characters without spaces, ROLE_POLICIES for all policies of a role together:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MANAGED_POLICY, ROLE_POLICIES, TRUST_POLICY = 6_144, 10_240, 2_048
# The longest values: a resource's name has up to 64 characters, its ARN 50 more
LONGEST = {"AWS::Partition": "aws-us-gov", "AWS::Region": "ap-southeast-1", "AWS::AccountId": ACCOUNT}


def test_policies_fit_into_the_quotas_of_iam(variants: Path) -> None:
    sizes: Counter[str] = Counter()
    for path in (variants / f"assembly-{LONGEST_NAME}").glob("*.template.json"):
        for logical_id, resource in json.loads(path.read_text())["Resources"].items():
            kind, properties = resource["Type"], resource.get("Properties", {})
            if kind == "AWS::IAM::Role":
                assert characters(properties["AssumeRolePolicyDocument"]) <= TRUST_POLICY, logical_id
            elif kind == "AWS::IAM::ManagedPolicy":
                assert characters(properties["PolicyDocument"]) <= MANAGED_POLICY, logical_id
            elif kind == "AWS::IAM::Policy":
                for role in properties["Roles"]:
                    sizes[f"{path.name} {role['Ref']}"] += characters(properties["PolicyDocument"])
    assert len(sizes) > 20
    assert max(sizes.values()) <= ROLE_POLICIES, sizes.most_common(3)


def characters(document: Any) -> int:
    return len(re.sub(r"\s", "", json.dumps(longest(document))))


def longest(value: Any) -> Any:
    """The value with the longest texts in place of its references."""
    if isinstance(value, list):
        return [longest(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Join" in value:
        return "".join(longest(part) for part in value["Fn::Join"][1])
    if "Ref" in value:
        return LONGEST.get(value["Ref"], "r" * 64)
    if len(value) == 1 and next(iter(value)).startswith("Fn::"):
        return "a" * (64 + 50 * ("Arn" in json.dumps(value)))
    return {key: longest(item) for key, item in value.items()}


def test_no_description_is_part_of_what_a_resource_is(variants: Path) -> None:
    """Another wording would replace it: one with a name cannot be replaced, and people would lose a policy."""
    schemas = json.loads((SCHEMAS / "us-east-1.json").read_text())
    for path in (variants / f"assembly-{LONGEST_NAME}").glob("*.template.json"):
        for logical_id, resource in json.loads(path.read_text())["Resources"].items():
            schema = json.loads((_SCHEMAS / f"resources/{schemas[resource['Type']]}.json").read_text())
            fixed = {pointer.split("/")[2] for pointer in schema.get("createOnlyProperties", [])}
            described = [
                name for name, value in resource.get("Properties", {}).items() if "Description" in name and value
            ]
            assert not fixed.intersection(described), logical_id
