"""The CDK command line that package.json pins."""

import os
import subprocess
import sys
from pathlib import Path

from data_prep.target import Target
from ops.errors import OpsError
from stacks.config import PROJECT_ROOT

EXECUTABLE = PROJECT_ROOT / "node_modules" / ".bin" / "cdk"


def run_cdk(
    *arguments: str, capture: bool = False, target: Target | None = None, folder: Path = PROJECT_ROOT
) -> "subprocess.CompletedProcess[str]":
    """Run `cdk`, its output shown or captured; raises OpsError if it fails.

    target: where to run it, with this process's credentials. Without one it finds neither credentials nor region.
    folder: whose cdk.json it reads.
    """
    if not EXECUTABLE.exists():
        raise OpsError(f"{EXECUTABLE.relative_to(PROJECT_ROOT)} is not installed: run `make setup`")
    environment = {
        **(target.environment if target else _without_aws()),
        # Node lies beside the interpreter, and cdk.json's app is run with it
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",  # package.json pins it
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
    }
    result = subprocess.run(
        [str(EXECUTABLE), *arguments, "--no-notices"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL if capture else None,
        capture_output=capture,
        text=True,
        check=False,
    )
    if result.returncode:
        shown = f":\n{(result.stderr or result.stdout).strip()}" if capture else ""
        raise OpsError(f"`cdk {' '.join(arguments)}` ended with status {result.returncode}{shown}")
    return result


def _without_aws() -> dict[str, str]:
    """This process's environment, but nothing that could lead to AWS."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AMAZON_"))}
    return {**environment, "AWS_EC2_METADATA_DISABLED": "true"}
