"""Shared by all tests: where the project is, and what no test may do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

from local import strict
from stacks.config import PROJECT_ROOT

# What AWS would refuse fails in every client, whether it is stubbed, moto's or of the local cloud
strict.install()

hypothesis.settings.register_profile("no deadline", deadline=None)  # how long a test takes says nothing about the code
hypothesis.settings.load_profile("no deadline")

# Node and the linters lie beside the interpreter, whether or not the environment was activated
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

# Whatever the shell points at, an account or the local cloud: a test that forgets to point somewhere fails
for name in [name for name in os.environ if name.startswith(("AWS_", "CIFAR_100_"))]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


LONGEST_NAME = "an-environment-named"  # 20 characters


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cloud assembly of app.py, made without credentials, account or network.

    Beside cdk.json's environments there is one like prod with the longest name, from which others follow.
    """
    output = tmp_path_factory.mktemp("assembly")
    context = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]
    context["environments"][LONGEST_NAME] = context["environments"]["prod"]
    context["aws:cdk:enable-path-metadata"] = True  # as the command line says
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    subprocess.run(
        [sys.executable, "app.py"],
        cwd=PROJECT_ROOT,
        env={**environment, "CDK_OUTDIR": str(output), "CDK_CONTEXT_JSON": json.dumps(context)},
        check=True,
        timeout=120,
    )
    return output
