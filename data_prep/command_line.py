"""What the three command lines share: their settings, their exit codes, and errors as one line."""

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
    """A command: `where` names a function, or an application that is a group of commands, as `module:name`."""

    where: str
    example: str = ""  # its arguments
    context_settings: dict[str, Any] = field(default_factory=dict)


def application(name: str, purpose: str, commands: Mapping[str, Command], *, only: str = "") -> typer.Typer:
    """The command line `python -m NAME`.

    only: the command to run. If it is one of `commands`, the others are not imported, which would take longer than most
    commands themselves.
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
    """A callback, without which typer would not treat a single command as one of a group."""


def run(
    application: Callable[[str], typer.Typer],
    arguments: list[str] | None,
    *,
    program: str,
    errors: tuple[type[Exception], ...] = (),
) -> None:
    """Run a command. Exit code 0: success; 1: failure, with one line on stderr that says why; 2: wrong usage.

    application: creates the command line, given the command to run.
    arguments: the command's; None for those of this process.
    errors: exceptions of this command line that become one line, besides those of data_prep, the configuration, AWS and
    the operating system.
    """
    words = sys.argv[1:] if arguments is None else arguments
    app = application(words[0] if words else "")
    expected: tuple[type[Exception], ...] = (DataPrepError, ConfigError, OSError, *errors)
    try:
        with one_line_errors():
            app(args=words, prog_name=program)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except expected as error:
        # Keep the message's own line breaks; any other control character came with a quoted name or cause
        note("\n".join(map(visible, f"Error: {error}".split("\n"))))
        sys.exit(1)
