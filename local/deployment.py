"""The real `cdk` command against the local cloud: untouched app, untouched templates."""

import os
import shlex
import sys
from pathlib import Path

from local.cloud import ACCOUNT, REGION, LocalCloud, LocalCloudError, tail
from stacks.config import PROJECT_ROOT

_CDK = str(PROJECT_ROOT / "node_modules" / ".bin" / "cdk")
_QUIET = ["--no-notices", "--no-color", "--ci"]


def synthesize(cloud: LocalCloud, environment: str) -> Path:
    """Render the templates of one environment; returns the cloud assembly to deploy from."""
    assembly = cloud.directory / "cdk.out"
    _cdk(cloud, "synth", "--quiet", "--output", str(assembly), "--context", f"only={environment}")
    return assembly


def bootstrap(cloud: LocalCloud) -> None:
    """Make the bucket and the roles that `cdk deploy` publishes through, unless they are there."""
    folder = cloud.directory / "tmp"  # it goes when the cloud is stopped
    done = folder / "bootstrapped"
    if not done.exists():
        # Outside the project cdk finds no app, which it would synthesize first, into a directory that all clouds share
        _cdk(cloud, "bootstrap", f"aws://{ACCOUNT}/{REGION}", directory=folder)
        done.touch()


def deploy(cloud: LocalCloud, assembly: Path, pattern: str) -> None:
    """`cdk deploy`; `pattern` selects stacks, as in `dev/*`."""
    _cdk(cloud, "deploy", pattern, "--app", str(assembly), "--require-approval", "never", "--concurrency", "4")


def deploy_source(cloud: LocalCloud, source: Path, environment: str) -> None:
    """`cdk deploy` of all stacks of an environment, as the project in `source` describes them."""
    # The changes are nobody's to look at first, and a set of them takes the emulator as long as making them
    options = ("--method=direct", "--require-approval=never", "--concurrency=4", f"--context=only={environment}")
    # Not cdk.json's own app: a copy of the project has no .venv
    application = shlex.join([sys.executable, "app.py"])
    output = str(cloud.directory / "cdk.out")
    _cdk(cloud, "deploy", f"{environment}/*", "--app", application, "--output", output, *options, directory=source)


def _cdk(cloud: LocalCloud, *arguments: str, directory: Path = PROJECT_ROOT) -> None:
    log = cloud.directory / f"cdk-{arguments[0]}.log"
    with log.open("ab") as output:
        output.write(f"$ cdk {' '.join(arguments)}\n".encode())
        output.flush()
        begun = output.tell()
        status = cloud.run(
            [_CDK, *arguments, *_QUIET],
            program=_CDK,
            log=output,
            directory=directory,
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        )
    if status:
        end = tail(log, after=begun)
        raise LocalCloudError(f"`cdk {arguments[0]}` ended with status {status}; the end of {log}:\n{end}")
