"""The definition files of the state machines: their content, and the substitution of their placeholders."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.config import PROJECT_ROOT
from stacks.shared.definition import check_substitutions, on_one_line, read_definition, read_messages, with_suffix
from stacks.shared.retry_policy import ANY_FAILURE, retriers

FILES = sorted((PROJECT_ROOT / "stacks").glob("*/*.yaml"))


def repeated_keys(node: yaml.Node) -> list[str]:
    """Keys that a mapping has twice: YAML's readers keep the last and say nothing."""
    if isinstance(node, yaml.SequenceNode):
        return [key for item in node.value for key in repeated_keys(item)]
    if not isinstance(node, yaml.MappingNode):
        return []
    keys = [key.value for key, _ in node.value]
    return [key for key in set(keys) if keys.count(key) > 1] + [k for _, v in node.value for k in repeated_keys(v)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_state_or_member_is_defined_twice_in_a_file(path: Path) -> None:
    assert repeated_keys(yaml.compose(path.read_text())) == []
    assert repeated_keys(yaml.compose("a: {b: 1, c: 2, b: 3}")) == ["b"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.asl.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MaxConcurrency: ${Limit}", {"MaxConcurrency": 4}),
        ("Cause: at most ${Limit} images", {"Cause": "at most 4 images"}),
        ("Bucket: s3://${Name}/${Limit}", {"Bucket": "s3://${Name}/4"}),
        ("Bucket: ${Name}", {"Bucket": "${Name}"}),
        ("- A: [$x, '${Limit}', true]", [{"A": ["$x", 4, True]}]),
        ("Retry: ${RetryAnyFailure}\nB: ${Limit}", {"Retry": retriers([ANY_FAILURE]), "B": 4}),
    ],
)
def test_a_placeholder_becomes_its_value_and_one_without_a_value_stays(path: Path, text: str, expected: Any) -> None:
    path.write_text(text)
    if "${Limit}" in text:
        assert read_definition(path, Limit=4) == expected
    else:
        assert read_definition(path) == expected


def test_a_placeholder_as_a_key_becomes_a_mappings_entries_in_their_place(path: Path) -> None:
    path.write_text("States:\n  A: {Type: Pass}\n  ${More}:\n  D: {Type: Fail}\n")
    found = read_definition(path, More={"B": {"Type": "Wait"}, "C": {"Type": "Map"}})
    assert list(found["States"]) == ["A", "B", "C", "D"]


def test_a_value_that_the_file_does_not_use_is_refused(path: Path) -> None:
    path.write_text("A: ${Limit}")
    with pytest.raises(ValueError, match=r"some.asl.yaml has no placeholder for Limits"):
        read_definition(path, Limits=4)


def test_a_message_quotes_each_of_its_lines(path: Path) -> None:
    path.write_text("Notify:\n  Subject: \"'of ${Name}'\"\n  Lines:\n    - $states.input.a\n    - \"'b'\"\n")
    message = read_messages(path, Name="dev")["Notify"]
    assert message["TopicArn"] == "${AlertTopicArn}"
    assert message["Subject"].startswith("{% $substring($replace('of dev', /[")
    assert message["Message"].startswith("{% $join($map([$states.input.a, 'b'], function($line) {")


def test_an_expression_is_joined_to_one_line_and_other_text_is_unchanged() -> None:
    value = {"A": ["{% $a\n  & ' b' %}", "a\n  b", 1], "B": "{% '\\n' %}"}
    assert on_one_line(value) == {"A": ["{% $a & ' b' %}", "a\n  b", 1], "B": "{% '\\n' %}"}


def test_a_suffix_follows_the_states_through_every_reference() -> None:
    inner = {"StartAt": "C", "States": {"C": {"Type": "Pass", "Output": {"Next": 1}, "End": True}}}
    definition = {
        "StartAt": "A",
        "States": {
            "A": {"Type": "Choice", "Choices": [{"Condition": "c", "Next": "B"}], "Default": "B"},
            "B": {"Type": "Map", "ItemProcessor": inner, "Catch": [{"Next": "A"}], "End": True},
        },
    }
    assert with_suffix(definition, " (x)") == {
        "StartAt": "A (x)",
        "States": {
            "A (x)": {"Type": "Choice", "Choices": [{"Condition": "c", "Next": "B (x)"}], "Default": "B (x)"},
            "B (x)": {
                "Type": "Map",
                "ItemProcessor": {
                    "StartAt": "C (x)",
                    "States": {"C (x)": {"Type": "Pass", "Output": {"Next": 1}, "End": True}},
                },
                "Catch": [{"Next": "A (x)"}],
                "End": True,
            },
        },
    }


@pytest.mark.parametrize("names", [[], ["TopicArn", "Bucket"]], ids=["none", "one too many"])
def test_a_placeholder_without_a_substitution_and_the_reverse_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^Machine: placeholders and substitutions differ in (TopicArn|Bucket)$"):
        check_substitutions("Machine", '{"TopicArn": "${TopicArn}"}', names)
