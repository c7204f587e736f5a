"""The CDK command line that package.json pins."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from data_prep.target import Target
from ops.errors import OpsError
from stacks.config import PROJECT_ROOT

App = Annotated[
    Path | None,
    typer.Option(
        "--app",
        help="A cloud assembly that `cdk synth` has made. Default: one of the working tree, made now.",
        exists=True,
        file_okay=False,
        resolve_path=True,
        show_default=False,
    ),
]
ASSEMBLY = PROJECT_ROOT / "cdk.out"
EXECUTABLE = PROJECT_ROOT / "node_modules" / ".bin" / "cdk"
# Lines of cdk's output: `✅  dev/Data (scones-dev-Data) (no changes)`, `scones-dev-Data | 3/7 | ...`
_DONE = re.compile(r"\s*✅\s+(\S+) \([^)]*\)(: destroyed| \(no changes\))?")
_EVENT = re.compile(r"\s*(\S+) \|\s*(\d+/\d+) \|")
LOGS = PROJECT_ROOT / "build"
_TAIL = 30  # lines of the log that are shown after a failure


def assembly(environment: str, app: Path | None) -> Path:
    """The cloud assembly `app`, or a new one of the working tree with only this environment. Raises OpsError."""
    if not app:
        run_cdk("synth", "--quiet", "--output", str(ASSEMBLY), "--context", f"only={environment}", capture=True)
    return app or ASSEMBLY


def run_cdk(
    *arguments: str, capture: bool = False, target: Target | None = None, folder: Path = PROJECT_ROOT
) -> "subprocess.CompletedProcess[str]":
    """Run `cdk`, its output shown or captured; raises OpsError if it fails.

    target: the account or cloud to run in, with this process's credentials; without one, cdk gets neither credentials
    nor a region. folder: its cdk.json is used.
    """
    result = subprocess.run(
        _command(*arguments),
        cwd=folder,
        env=_environment(target),
        stdin=subprocess.DEVNULL if capture else None,
        capture_output=capture,
        text=True,
        check=False,
    )
    if result.returncode:
        shown = f":\n{(result.stderr or result.stdout).strip()}" if capture else ""
        raise OpsError(f"`cdk {' '.join(arguments)}` ended with status {result.returncode}{shown}")
    return result


def change_stacks(
    command: Literal["deploy", "destroy"], *arguments: str, target: Target, verbose: bool = False
) -> None:
    """Run `cdk deploy` or `cdk destroy`; raises OpsError if it fails.

    In the local cloud, shows a line for each stack, and writes the rest to a log in build/. In an account, shows all
    output: a deployment takes minutes, and cdk may ask for an MFA token.
    """
    if target.is_local and not verbose:
        _run_quietly(command, *arguments, target=target, log=LOGS / f"cdk-{command}.log")
    else:
        run_cdk(command, *arguments, target=target)


def _run_quietly(command: str, *arguments: str, target: Target, log: Path) -> None:
    """Shows a line for each finished stack and, on a terminal, the progress of the others."""
    console, started = Console(highlight=False), time.monotonic()
    events: dict[str, str] = {}
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        console.status(f"cdk {command}") as status,
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            _command(command, *arguments),
            cwd=PROJECT_ROOT,
            env=_environment(target),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        for line in process.stdout or ():
            file.write(line)
            if done := _DONE.match(line):
                console.print(f"[green]✓[/] {done[1]}{done[2] or ''} [dim]{time.monotonic() - started:.1f} s[/]")
            elif event := _EVENT.match(line):
                events[event[1]] = event[2]
                status.update(", ".join(f"{stack} {done}" for stack, done in events.items()))
    if process.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-_TAIL:])
        raise OpsError(f"`cdk {command}` ended with status {process.returncode}; the end of {log}:\n{tail}")


def _command(*arguments: str) -> list[str]:
    if not EXECUTABLE.exists():
        raise OpsError(f"{EXECUTABLE.relative_to(PROJECT_ROOT)} is not installed: run `make setup`")
    return [str(EXECUTABLE), *arguments, "--no-notices"]


def _environment(target: Target | None) -> dict[str, str]:
    return {
        **(target.environment if target else _without_aws()),
        # The interpreter's folder has Node, and the python that cdk.json's app runs with
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",  # package.json pins it
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
    }


def _without_aws() -> dict[str, str]:
    """This process's environment without anything that leads to AWS."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AMAZON_"))}
    return {**environment, "AWS_EC2_METADATA_DISABLED": "true"}
