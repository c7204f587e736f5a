"""The messages that the state machines publish, with quoted keys, causes and errors written by an attacker."""

import unicodedata
from typing import Any

import pytest
from ministack.services import stepfunctions

from local.strict import check, task_request
from tests.infrastructure.test_limits import states_of
from tests.infrastructure.test_second_opinion import OUTCOMES, STATES
from tests.second_opinion import disagreements

HOSTILE = "a.png\n\nAll clear,\r\nsign in at http://evil\u2028\u202egnp.exe\x1b[2K\u200b\x00"
NOT_PRINTABLE = "".join(
    character
    for character in map(chr, range(0x10000))
    if not character.isprintable() and unicodedata.category(character) not in {"Cs", "Co", "Cn"}
)


def rewritten(value: Any, text: str) -> Any:
    """The same, but that every text in it is this one."""
    if isinstance(value, dict):
        return {name: rewritten(member, text) for name, member in value.items()}
    if isinstance(value, list):
        return [rewritten(member, text) for member in value]
    return text if isinstance(value, str) else value


@pytest.fixture(scope="module")
def arguments(definitions: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Those of every state that publishes, whichever integration it takes."""
    return [
        state["Arguments"]
        for definition in definitions
        for _, state, _ in states_of(definition)
        if "sns:publish" in state.get("Resource", "")
    ]


def published(arguments: dict[str, str], text: str) -> tuple[str, str]:
    state_input = rewritten({**STATES["input"], "refused": ["ml.g4dn.xlarge: no quota"] * 2}, text)
    found = stepfunctions._apply_jsonata_template(arguments, state_input, STATES["context"])
    return found["Subject"], found["Message"]


@pytest.mark.parametrize("text", [HOSTILE, NOT_PRINTABLE], ids=["mail", "every character"])
def test_quoted_text_stays_on_its_line_of_a_message_and_hides_nothing(
    arguments: list[dict[str, str]], text: str
) -> None:
    assert len(arguments) > 10
    for argument in arguments:
        subject, message = published(argument, text)
        assert subject.isprintable()
        assert all(line.isprintable() for line in message.split("\n"))
        assert len(message.split("\n")) == len(published(argument, "plain")[1].split("\n"))


def test_a_message_with_nothing_to_list_has_no_empty_line(arguments: list[dict[str, str]]) -> None:
    state_input = {**STATES["input"], "outcomes": [], "examples": [], "refused": []}
    for argument in arguments:
        message = stepfunctions._apply_jsonata_template(argument, state_input, STATES["context"])["Message"]
        assert all(line.strip() for line in message.split("\n")), message


def test_unprintable_characters_are_shown(arguments: list[dict[str, str]]) -> None:
    quoted = [published(argument, HOSTILE)[1] for argument in arguments if "failure" in argument["Message"]]
    assert quoted
    for message in quoted:
        assert "a.png��All clear,��sign in at http://evil��gnp.exe�[2K��" in message


def test_text_of_any_language_stays_readable(arguments: list[dict[str, str]]) -> None:
    for argument in arguments:
        plain, readable = (published(argument, text) for text in ("plain", "Fahrräder 漢字 😀"))
        assert tuple(part.replace("Fahrräder 漢字 😀", "plain") for part in readable) == plain


def test_the_longest_message_keeps_within_the_limits_of_sns(arguments: list[dict[str, str]]) -> None:
    many = {**STATES["input"], "outcomes": OUTCOMES[1:] * 100, "examples": OUTCOMES[1:] * 100}
    state_input = rewritten(many, "漢\n" * 3_000)
    for argument in arguments:
        found = stepfunctions._apply_jsonata_template(argument, state_input, STATES["context"])
        check(*task_request("sns:publish", found))


def test_the_reference_implementation_publishes_the_same(arguments: list[dict[str, str]]) -> None:
    cases = []
    for argument in arguments:
        for text in (HOSTILE, NOT_PRINTABLE):
            subject, message = published(argument, text)
            states = {**STATES, "input": rewritten({**STATES["input"], "refused": ["x", "y"]}, text)}
            for expression, value in ((argument["Subject"], subject), (argument["Message"], message)):
                cases.append({"expression": expression[2:-2], "states": states, "variables": {}, "value": value})
    assert not disagreements(cases)
