"""What every state machine is made of."""

import pytest
from aws_cdk import Stack

from stacks.config import load_environment
from stacks.shared.state_machine import StateMachine


@pytest.mark.parametrize("substitutions", [{}, {"TopicArn": "t", "Bucket": "b"}], ids=["none", "one too many"])
def test_a_placeholder_without_a_substitution_and_the_reverse_are_refused(substitutions: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"placeholders and substitutions differ in (TopicArn|Bucket)$"):
        StateMachine(
            Stack(),
            "Machine",
            config=load_environment("dev"),
            definition={"States": {"A": {"Resource": "arn:aws:states:::sns:publish", "TopicArn": "${TopicArn}"}}},
            functions={},
            substitutions=substitutions,
            name="machine",
        )
