"""What the three command lines have in common: their settings, and every error as one line."""

import os
import sys

import typer

from data_prep.aws_errors import one_line_errors
from data_prep.errors import DataPrepError
from data_prep.terminal import note, visible
from stacks.config import ConfigError


def application(name: str, purpose: str) -> typer.Typer:
    """A command line without commands."""
    return typer.Typer(
        name=name,
        help=purpose,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run(
    app: typer.Typer, arguments: list[str] | None, *, program: str, errors: tuple[type[Exception], ...] = ()
) -> None:
    """Run a command. Exit code 0: done; 1: failed, one line on stderr says why; 2: wrong usage.

    arguments: of the command, or None for those of this process. errors: the command line's own, beside those of
    data_prep, the configuration, AWS and the operating system; their message says what, why and how to fix it.
    """
    expected: tuple[type[Exception], ...] = (DataPrepError, ConfigError, OSError, *errors)
    try:
        with one_line_errors():
            app(args=arguments, prog_name=program)
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except expected as error:
        # Lines of its own are the error's, what else moves a cursor came with a name or a cause
        note("\n".join(map(visible, f"Error: {error}".split("\n"))))
        sys.exit(1)
