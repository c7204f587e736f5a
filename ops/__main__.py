"""`python -m ops`: what to run once an environment is deployed."""

import os
import sys

import typer

from data_prep.errors import DataPrepError
from ops.captures import captures
from ops.errors import OpsError
from stacks.config import ConfigError

app = typer.Typer(
    name="ops",
    help="See a deployed environment work: traffic, captures, thresholds. Works on AWS and in the local cloud.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _commands() -> None:
    """Without a callback, a single command would be the whole program."""


app.command(epilog="Example: python -m ops captures --env dev --since 24h")(captures)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit code 0 done, 1 could not (one line on stderr says why), 2 wrong usage."""
    try:
        app(args=arguments, prog_name="python -m ops")
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (OpsError, DataPrepError, ConfigError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
