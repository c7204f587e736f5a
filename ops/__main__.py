"""`python -m ops`: to review, deploy and watch an environment."""

import sys

import typer
from botocore.exceptions import BotoCoreError, ClientError

from ops.diff import diff, reference
from ops.errors import OpsError
from stacks.config import ConfigError

app = typer.Typer(
    name="ops",
    help="Review, deploy and watch an environment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog="Example: python -m ops diff --env dev")(diff)
app.command(epilog="Example: python -m ops reference")(reference)


def main() -> None:
    """Run a command; exit code 1 says that it could not be done, one line on stderr says why."""
    try:
        app(prog_name="python -m ops")
    except (OpsError, ConfigError, ClientError, BotoCoreError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
