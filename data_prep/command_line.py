"""What the three command lines have in common: their settings, and every error as one line."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import typer

from data_prep.aws_errors import one_line_errors
from data_prep.errors import DataPrepError
from data_prep.terminal import note, visible
from stacks.config import ConfigError


@dataclass(frozen=True)
class Command:
    """A function that is a command, or an application that is a group of them, as `module:name`."""

    where: str
    example: str = ""  # its arguments
    context_settings: dict[str, Any] = field(default_factory=dict)


def application(name: str, purpose: str, commands: Mapping[str, Command], *, only: str = "") -> typer.Typer:
    """A command line.

    only: the command that is to be run, if it is one of them. The others are not imported, as that takes longer than
    most commands do.
    """
    app = typer.Typer(
        name=name,
        help=purpose,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_group)
    for word, command in ({only: commands[only]} if only in commands else commands).items():
        module, _, attribute = command.where.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=word)
        else:
            example = f"Example: python -m {name} {word} {command.example}" if command.example else None
            app.command(word, epilog=example, context_settings=command.context_settings)(found)
    return app


def _group() -> None:
    """Keeps a single command one of a group."""


def run(
    application: Callable[[str], typer.Typer],
    arguments: list[str] | None,
    *,
    program: str,
    errors: tuple[type[Exception], ...] = (),
) -> None:
    """Run a command. Exit code 0: done; 1: failed, one line on stderr says why; 2: wrong usage.

    application: makes the command line, given the command that is to be run. arguments: of the command, or None for
    those of this process. errors: the command line's own, beside those of data_prep, the configuration, AWS and the
    operating system; their message says what, why and how to fix it.
    """
    words = sys.argv[1:] if arguments is None else arguments
    app = application(words[0] if words else "")
    expected: tuple[type[Exception], ...] = (DataPrepError, ConfigError, OSError, *errors)
    try:
        with one_line_errors():
            app(args=words, prog_name=program)
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except expected as error:
        # Lines of its own are the error's, what else moves a cursor came with a name or a cause
        note("\n".join(map(visible, f"Error: {error}".split("\n"))))
        sys.exit(1)
