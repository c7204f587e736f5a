"""A capability is one folder in each package, which can be read, changed and deleted without the others."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.config import PROJECT_ROOT

PACKAGES = ("lambda_src", "stacks")


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (PROJECT_ROOT / package).glob("*/*.py"))


def imports(path: Path) -> Iterator[str]:
    """The full names of all that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_a_capability_imports_itself_and_what_is_shared(path: Path) -> None:
    package, capability, _ = path.relative_to(PROJECT_ROOT).parts
    for name in imports(path):
        if not (PROJECT_ROOT / name.partition(".")[0]).is_dir():
            continue
        imported_package, module, *_ = name.split(".")
        assert imported_package in ({"lambda_src"} if package == "lambda_src" else PACKAGES), f"imports {name}"
        assert module in {capability, "shared", "config"}, f"imports {name}"


@pytest.mark.parametrize("path", sorted((PROJECT_ROOT / "lambda_src").glob("*/*.py")), ids=lambda path: path.stem)
def test_a_function_needs_only_the_standard_library_and_boto3(path: Path) -> None:
    for name in imports(path):
        root = name.partition(".")[0]
        assert root in {*sys.stdlib_module_names, "boto3", "botocore", "lambda_src"} or root.startswith("mypy_boto3_")
