"""References between stacks: CloudFormation keeps exports in use, so they must not depend on settings."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LONGEST_NAME
from tests.infrastructure.conftest import LONGEST_BOUNDED_NAME

# CloudFormation resolves each occurrence, about one a second (aws-cdk issue 38010), and not again after a replacement
WEAK = "Fn::GetStackOutput"
STRONG = "Fn::ImportValue"


def templates(assembly: Path) -> dict[str, dict[str, Any]]:
    """By stack name."""
    artifacts = json.loads((assembly / "manifest.json").read_text())["artifacts"].values()
    return {
        artifact["properties"]["stackName"]: json.loads((assembly / artifact["properties"]["templateFile"]).read_text())
        for artifact in artifacts
        if artifact["type"] == "aws:cloudformation:stack"
    }


def references(value: Any, function: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from references(item, function)
    elif isinstance(value, dict):
        if function in value:
            yield json.dumps(value[function])
        for item in value.values():
            yield from references(item, function)


def exports(template: dict[str, Any]) -> set[str]:
    """Without the stack's name."""
    outputs = template.get("Outputs", {}).values()
    return {output["Export"]["Name"].partition(":")[2] for output in outputs if "Export" in output}


def test_no_value_of_another_stack_is_resolved_once_per_occurrence(assembly: Path, environment: str) -> None:
    for stack, template in templates(assembly / f"assembly-{environment}").items():
        assert not Counter(references(template, WEAK)), stack


def test_every_import_is_what_an_earlier_stack_exports(assembly: Path, environment: str) -> None:
    stacks = templates(assembly / f"assembly-{environment}")
    exported = {f"{stack}:{name}" for stack, template in stacks.items() for name in exports(template)}
    imported = {json.loads(name) for template in stacks.values() for name in references(template, STRONG)}
    assert imported <= exported
    assert not set(references(stacks[f"scones-{environment}-Data"], STRONG))


@pytest.fixture(scope="module")
def exported(assembly: Path, variants: Path) -> dict[str, dict[str, set[str]]]:
    """What each stack exports, by environment; `plain` has no setting that adds a resource."""
    folders = {name: variants / f"assembly-{name}" for name in (LONGEST_NAME, LONGEST_BOUNDED_NAME, "serverless")}
    return {
        name: {stack.rpartition("-")[2]: exports(template) for stack, template in templates(folder).items()}
        for name, folder in {**folders, "plain": assembly / "assembly-dev"}.items()
    }


def test_no_setting_removes_an_export(exported: dict[str, dict[str, set[str]]]) -> None:
    """Else the deployment that follows the change would fail: the stack that imports it is updated later."""
    full, bounded = (
        {stack: {name for name in names if "Key" not in name} for stack, names in exported[environment].items()}
        for environment in (LONGEST_NAME, LONGEST_BOUNDED_NAME)
    )
    assert not bounded.pop("DeployRole")
    assert exported["plain"] == exported["serverless"] == full == bounded
    assert all(full[stack] for stack in ("Data", "Workflow", "Bulk", "Retraining"))


def test_only_the_key_cannot_be_given_up_while_it_is_in_use(exported: dict[str, dict[str, set[str]]]) -> None:
    """What is stored is encrypted with it: CloudFormation refuses, and says which stacks still use it."""
    more = {stack: names - exported["plain"].get(stack, set()) for stack, names in exported[LONGEST_NAME].items()}
    assert {stack for stack, names in more.items() if names} == {"Data"}
    assert all("Key" in name for name in more["Data"])
