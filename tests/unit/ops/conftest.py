"""Captures in SageMaker's format, and helpers for the commands of ops."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops import __main__ as command_line
from tests.unit.lambda_src.monitoring.capture_records import record

START = datetime(2026, 11, 25, 8, tzinfo=UTC)


def capture_line(number: int, confidence: float, *, time: datetime | None = None, image: bytes = b"pixels") -> bytes:
    """The capture of request `number`, a bicycle if it is even and a motorcycle if it is odd."""
    moment = time or START + timedelta(minutes=number)
    probabilities = [confidence, 1 - confidence] if number % 2 == 0 else [1 - confidence, confidence]
    capture = record(
        json.dumps(probabilities),
        time=moment,
        image=image,
        eventId=f"event-{number}",
        inferenceId=f"inference-{number}",
    )
    return json.dumps(capture).encode()


Writer = Callable[..., Path]


@pytest.fixture
def write_captures(tmp_path: Path) -> Writer:
    """Writes lines into a folder as one file of the hour 2026-11-25 08:00."""

    def write(*lines: bytes, name: str = "a") -> Path:
        path = tmp_path / f"captures/scones-dev/AllTraffic/2026/11/25/08/{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return tmp_path / "captures"

    return write


def run(*arguments: object) -> int:
    """The exit code of `python -m ops ...`."""
    with pytest.raises(SystemExit) as ended:
        command_line.main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def upload_event(key: str, *, identifier: str = "5f5e2c0e-8d8b-4a4e-9c8e-2f0f6a6c7d10") -> dict[str, Any]:
    """As S3 sends it: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html."""
    return {
        "version": "0",
        "id": identifier,
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-25T08:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:s3:::images"],
        "detail": {
            "version": "0",
            "bucket": {"name": "images"},
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac9",
                "version-id": "v1",
                "sequencer": "00617F08299329D189",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "reason": "PutObject",
        },
    }


class Pages:
    """A client that answers one paginated operation, for services that moto lacks."""

    def __init__(self, operation: str, *pages: dict[str, Any]) -> None:
        self._operation = operation
        self._pages = pages

    def get_paginator(self, operation: str) -> "Pages":
        assert operation == self._operation
        return self

    def paginate(self, **_parameters: Any) -> tuple[dict[str, Any], ...]:
        return self._pages


def deployed_stacks(outputs_by_stack: dict[str, dict[str, str]]) -> Pages:
    """A CloudFormation client that knows these stacks, each on a page of its own."""
    return Pages(
        "describe_stacks",
        *(
            {
                "Stacks": [
                    {
                        "StackName": name,
                        "StackStatus": "UPDATE_COMPLETE",
                        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
                    }
                ]
            }
            for name, outputs in outputs_by_stack.items()
        ),
    )
