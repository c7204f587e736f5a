"""Shared by all tests: where the project is, and what no test may do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import strict
from stacks.config import PROJECT_ROOT

# What AWS would refuse fails in every client, whether it is stubbed, moto's or of the local cloud
strict.install()

# Node and the linters lie beside the interpreter, whether or not the environment was activated
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(autouse=True)
def _no_real_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that forgets to point somewhere local fails instead of reaching an account."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cloud assembly of app.py, made without credentials, account or network."""
    output = tmp_path_factory.mktemp("assembly")
    context = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    subprocess.run(
        [sys.executable, "app.py"],
        cwd=PROJECT_ROOT,
        env={**environment, "CDK_OUTDIR": str(output), "CDK_CONTEXT_JSON": json.dumps(context)},
        check=True,
        timeout=120,
    )
    return output
