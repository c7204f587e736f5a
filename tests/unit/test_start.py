"""The commands start quickly, or print a fix if they cannot."""

import subprocess
import sys

import pytest

from stacks.config import PROJECT_ROOT

COMMANDS = ["data_prep", "local", "ops"]


def test_no_command_loads_cdk() -> None:
    """Which starts Node, and is for `cdk synth` alone."""
    program = f"""
import importlib, sys
for command in {COMMANDS}:
    importlib.import_module(f"{{command}}.__main__").application()
    if "jsii" in sys.modules:
        sys.exit(f"{{command}} loads it")
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, check=False, timeout=60).returncode == 0


def test_a_command_loads_no_other_command() -> None:
    """They need numpy, plotly and a server, which take longer to load than most commands to run."""
    program = """
import sys
from ops.__main__ import main
try:
    main(["outputs", "--help"])
finally:
    print(sorted({"ops.threshold", "numpy", "plotly", "hypercorn"} & sys.modules.keys()), file=sys.stderr)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert "Usage: python -m ops outputs" in run.stdout
    assert run.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_outside_the_virtual_environment_the_error_is_one_line_with_the_fix(command: str) -> None:
    without_packages = [sys.executable, "-S", "-m", command, "--help"]
    run = subprocess.run(without_packages, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "make setup" in line
    assert ". .venv/bin/activate" in line
