"""The README says what is so: its configuration table is the code's, and its commands exist."""

import json
import re
import shlex
import subprocess
import sys
from itertools import takewhile
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from stacks import config
from stacks.config import PROJECT_ROOT, EnvironmentConfig

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")


def settings(section: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Dotted key and default of every setting."""
    found: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        nested = config._SECTIONS.get(name)
        if nested and not prefix:
            found |= settings(nested, f"{name}.")
        elif name != "name":
            default = field.get_default()
            found[f"{prefix}{name}"] = None if default is PydanticUndefined else default
    return found


def test_the_configuration_table_is_complete_and_has_the_defaults() -> None:
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (none|`.+?`) \|", README, flags=re.MULTILINE)
    table = {key: None if default == "none" else json.loads(default.strip("`")) for key, default in rows}
    assert table == json.loads(json.dumps(settings(EnvironmentConfig)))


def commands() -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    in_blocks = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    in_text = re.findall(r"`((?:make|cdk|python -m) [^`]+)`", README)
    return sorted({command for command in (*in_blocks, *in_text) if command})


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_exists(command: str) -> None:
    program, *arguments = shlex.split(command)
    match program:
        case "make":
            subprocess.run([program, "--dry-run", *arguments], cwd=PROJECT_ROOT, check=True, capture_output=True)
        case "cdk":
            assert arguments[0] in {"deploy", "diff", "synth", "bootstrap", "destroy"}
            for pattern in arguments[1:]:
                assert re.fullmatch(r"(dev|prod)/(\*|Data)", pattern), pattern
        case "python":
            module = [sys.executable, "-m", arguments[1]]
            words = takewhile(lambda argument: not argument.startswith("-"), arguments[2:])
            options = {argument for argument in arguments[2:] if argument.startswith("-")}
            shown = subprocess.run(
                [*module, *words, "--help"], cwd=PROJECT_ROOT, check=True, capture_output=True, text=True
            ).stdout
            assert options <= set(re.findall(r"--[a-z-]+", shown))
        case _:
            pytest.fail(f"who runs {command!r}?")
