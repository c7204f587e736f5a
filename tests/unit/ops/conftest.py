"""Captures as SageMaker writes them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops import __main__ as command_line
from tests.unit.lambda_src.capture_records import record

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
