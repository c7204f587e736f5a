"""A capability is one folder in each package: it can be read, changed and deleted without the others."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.config import PROJECT_ROOT

PACKAGES = ("lambda_src", "stacks")


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (PROJECT_ROOT / package).glob("*/*.py"))


def imports(path: Path) -> Iterator[str]:
    """The full names of what a file imports, as far as it is of this project."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if (PROJECT_ROOT / name.partition(".")[0]).is_dir())


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_a_capability_imports_itself_and_what_is_shared(path: Path) -> None:
    package, capability, _ = path.relative_to(PROJECT_ROOT).parts
    for name in imports(path):
        imported_package, module, *_ = name.split(".")
        assert imported_package in ({"lambda_src"} if package == "lambda_src" else PACKAGES), f"imports {name}"
        assert module in {capability, "shared", "config"}, f"imports {name}"
