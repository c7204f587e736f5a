"""Every command has an example in its help, whose options exist."""

import re
import shlex
from collections.abc import Iterator

import pytest
import typer

from ops.__main__ import application
from tests.unit.ops.conftest import run


def examples(group: typer.Typer, *words: str) -> Iterator[tuple[tuple[str, ...], str]]:
    for command in group.registered_commands:
        assert command.callback
        name = command.name or command.callback.__name__.replace("_", "-")
        yield (*words, name), command.epilog or ""
    for below in group.registered_groups:
        assert below.typer_instance
        yield from examples(below.typer_instance, *words, str(below.name))


@pytest.mark.parametrize(("words", "epilog"), list(examples(application())))
def test_the_example_is_a_call_of_this_command(
    words: tuple[str, ...], epilog: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = shlex.split(epilog.removeprefix("Example: "))
    assert (program, *arguments[: 2 + len(words)]) == ("python", "-m", "ops", *words)
    assert run(*words, "--help") == 0
    known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out))
    used = {argument for argument in arguments[2 + len(words) :] if argument.startswith("-")}
    assert used <= known
