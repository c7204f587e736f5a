"""The commands `env` and `exec`, which run a shell or a command against the running local cloud."""

import os
import shlex
from typing import Annotated

import typer

from local.cloud import CLIENT_PREFIXES, LocalCloud, LocalCloudError


def env() -> None:
    """Print variables that point a shell's AWS tools at the running local cloud: `eval "$(python -m local env)"`."""
    try:
        cloud = LocalCloud.running()
    except LocalCloudError:
        typer.echo("false")  # evaluating empty output would succeed, and later commands would reach the real account
        raise
    environment = cloud.environment
    # Credentials and endpoints that the shell already has would take precedence
    for name in os.environ:
        if name.startswith("AWS_") and name not in environment:
            typer.echo(f"unset {name}")
    for name, value in environment.items():
        if name.startswith(CLIENT_PREFIXES):
            typer.echo(f"export {name}={shlex.quote(value)}")


def exec_(command: Annotated[list[str], typer.Argument(help="A program and its arguments.")]) -> None:
    """Run a command against the running local cloud. Nothing runs if there is none."""
    # As in a shell that evaluated `env`, the command keeps the user's variables that do not lead to AWS
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**own, **LocalCloud.running().environment}
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - its status and its signals are the command's own
    except OSError as error:
        raise LocalCloudError(f"cannot run {command[0]}: {error.strerror}") from None
