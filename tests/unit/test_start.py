"""The commands start at once, and say what to do where they cannot."""

import subprocess
import sys

import pytest

from stacks.config import PROJECT_ROOT

COMMANDS = ["data_prep", "local", "ops"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_not_load_cdk(command: str) -> None:
    """Which starts Node, and is for `cdk synth` alone."""
    program = f"import sys, {command}.__main__; sys.exit('jsii' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_outside_the_virtual_environment_one_line_says_what_to_do(command: str) -> None:
    without_packages = [sys.executable, "-S", "-m", command, "--help"]
    run = subprocess.run(without_packages, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "make setup" in line
    assert ". .venv/bin/activate" in line
