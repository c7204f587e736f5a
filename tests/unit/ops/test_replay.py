import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ops import aws
from tests.unit.ops.conftest import run, upload_event

REGION = "us-east-1"


class Environment:
    """A queue and a state machine in an account of the test's own."""

    def __init__(self) -> None:
        self.sqs = boto3.client("sqs", REGION)
        self.sqs.meta.events.register("provide-client-params.sqs.ReceiveMessage", self._wait_no_longer)
        self.queue_url = self.sqs.create_queue(QueueName="undelivered")["QueueUrl"]
        self.states = boto3.client("stepfunctions", REGION)
        definition = {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}
        self.state_machine_arn = self.states.create_state_machine(
            name="classification", definition=json.dumps(definition), roleArn="arn:aws:iam::123456789012:role/r"
        )["stateMachineArn"]

    @staticmethod
    def _wait_no_longer(params: dict[str, Any], **_: object) -> None:
        """Only long polling asks all servers of SQS; moto has one, and would wait."""
        assert params["WaitTimeSeconds"] > 0
        params["WaitTimeSeconds"] = 0

    def put(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)

    def left(self) -> int:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return sum(map(int, attributes.values()))

    def inputs(self) -> list[dict[str, Any]]:
        executions = self.states.list_executions(stateMachineArn=self.state_machine_arn)["executions"]
        return [
            json.loads(self.states.describe_execution(executionArn=execution["executionArn"])["input"])
            for execution in executions
        ]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        made = Environment()
        outputs = {"UndeliveredEventsUrl": made.queue_url, "StateMachineArn": made.state_machine_arn}
        monkeypatch.setattr(aws, "output", lambda _config, _stack, key: outputs[key])
        monkeypatch.setattr(aws, "sqs", lambda: made.sqs)
        monkeypatch.setattr(aws, "stepfunctions", lambda: made.states)
        yield made


def test_every_upload_is_started_with_what_the_rule_makes_of_its_event(environment: Environment) -> None:
    for number in range(25):
        environment.put(json.dumps(upload_event(f"incoming/a b {number}.png", identifier=f"id-{number}")))
    assert run("replay") == 0
    assert environment.left() == 0
    inputs = environment.inputs()
    assert len(inputs) == 25
    assert upload_event("incoming/a b 7.png")["detail"] in inputs


def test_an_upload_to_a_bucket_without_versions_is_started_as_well(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    event = upload_event("incoming/a.png")
    del event["detail"]["object"]["version-id"]
    environment.put(json.dumps(event))
    assert run("replay") == 0
    assert environment.inputs() == [event["detail"]]
    assert "started: s3://images/incoming/a.png" in capsys.readouterr().out


def test_an_event_that_was_started_before_is_not_started_again(environment: Environment) -> None:
    for _ in range(2):
        environment.put(json.dumps(upload_event("incoming/a.png")))
        assert run("replay") == 0
    assert len(environment.inputs()) == 1
    assert environment.left() == 0


@pytest.mark.parametrize(
    "body", ['{"s3_prefix": "scheduled/"}', '{"id": "i", "detail": {}}', "no JSON", "[]", '"text"', "null"]
)
def test_a_message_that_is_not_an_upload_is_kept_and_named(
    environment: Environment, capsys: pytest.CaptureFixture[str], body: str
) -> None:
    environment.put(body)
    environment.put(json.dumps(upload_event("incoming/a.png")))
    assert run("replay") == 1
    output = capsys.readouterr()
    assert f"kept, as it is no upload: {body}" in output.out
    assert output.err.startswith("Error: 1 messages are no uploads")
    assert environment.left() == 1
    assert len(environment.inputs()) == 1
