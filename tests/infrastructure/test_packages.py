"""A function's package has its capability and `shared`, so that a change affects the functions of one stack only."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from stacks.config import PROJECT_ROOT
from tests.infrastructure.conftest import Template

STACKS = ("Bulk", "Model", "Monitoring", "Retraining", "Workflow")


def functions(assembly: Path, stack: str) -> dict[str, Path]:
    """Handlers of the functions of a stack of dev, with their packages."""
    (path,) = (assembly / "assembly-dev").glob(f"dev{stack}*.template.json")
    found = Template(path, json.loads(path.read_text())).resources("AWS::Lambda::Function").values()
    return {each["Handler"]: assembly / f"asset.{each['Code']['S3Key'].removesuffix('.zip')}" for each in found}


@pytest.mark.parametrize("stack", STACKS)
def test_a_package_holds_its_capability_and_what_is_shared(stack: str, assembly: Path) -> None:
    sources = PROJECT_ROOT / "lambda_src"
    for handler, package in functions(assembly, stack).items():
        module, _, name = handler.rpartition(".")
        _, capability, _ = module.split(".")
        expected = {sources / "__init__.py", *(sources / capability).rglob("*.py"), *(sources / "shared").rglob("*.py")}
        packaged = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
        assert packaged == {path.relative_to(PROJECT_ROOT) for path in expected}
        assert f"def {name}(" in (package / f"{module.replace('.', '/')}.py").read_text()


def test_a_change_of_one_capability_changes_the_functions_of_one_stack(assembly: Path) -> None:
    changed = defaultdict(set)
    for stack in STACKS:
        for package in functions(assembly, stack).values():
            for folder in (package / "lambda_src").glob("*/"):
                changed[folder.name].add(stack)
    assert changed == {
        "bulk": {"Bulk"},
        "classification": {"Workflow"},
        "model": {"Model"},
        "monitoring": {"Monitoring"},
        "retraining": {"Retraining"},
        "shared": set(STACKS),
    }
