"""Start the workflow for uploads whose events could not be delivered: `replay`."""

import json
from collections.abc import Iterator
from typing import Any

import typer

from data_prep.options import EnvironmentName
from data_prep.terminal import visible
from lambda_src.shared.text import shortened
from ops import aws
from ops.errors import OpsError
from stacks.classification.upload_event import execution_input
from stacks.config import load_environment


def replay(env: EnvironmentName = "dev") -> None:
    """Start the workflow for every upload in the dead-letter queue, and remove it from there."""
    config = load_environment(env)
    queue_url = aws.output(config, "Workflow", "UndeliveredEventsUrl")
    state_machine_arn = aws.output(config, "Workflow", "StateMachineArn")
    started, kept = 0, 0
    for message in _messages(queue_url):
        try:
            event = json.loads(message["Body"])
            image = execution_input(event)
        except (ValueError, KeyError, TypeError):
            kept += 1
            typer.echo(f"kept, as it is no upload: {visible(shortened(message['Body'], 200))}")
            continue
        _start(state_machine_arn, name=str(event["id"]), image=image)
        aws.sqs().delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        started += 1
        typer.echo(visible(f"started: s3://{image['bucket']['name']}/{image['object']['key']}"))
    typer.echo(f"{started} started, {kept} kept")
    if kept:
        raise OpsError(
            f"{kept} messages are no uploads, such as a missed schedule: start those by hand, then purge the queue"
        )


def _messages(queue_url: str) -> Iterator[Any]:
    """Each message once. Messages that are not deleted stay invisible for ten minutes."""
    while True:
        response = aws.sqs().receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=600, WaitTimeSeconds=1
        )
        if not response.get("Messages"):
            return
        yield from response["Messages"]


def _start(state_machine_arn: str, *, name: str, image: dict[str, Any]) -> None:
    """The event's id is the execution's name, so an interrupted and repeated command starts no execution twice."""
    client = aws.stepfunctions()
    try:
        client.start_execution(stateMachineArn=state_machine_arn, name=name, input=json.dumps(image))
    except client.exceptions.ExecutionAlreadyExists:
        return
