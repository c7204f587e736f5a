"""The commands start at once: CDK, which starts Node, is for `cdk synth` alone."""

import subprocess
import sys

import pytest

from stacks.config import PROJECT_ROOT


@pytest.mark.parametrize("command", ["data_prep", "local", "ops"])
def test_a_command_does_not_load_cdk(command: str) -> None:
    program = f"import sys, {command}.__main__; sys.exit('jsii' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, check=False, timeout=60).returncode == 0
