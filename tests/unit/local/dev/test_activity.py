"""The displayed lines for logs and executions."""

import json
from collections import Counter
from datetime import datetime
from typing import Any

import pytest
from rich.console import Console

from local.dev.activity import LogLine, Outcome, log_line, short_name, unseen
from local.dev.stream import Stream


def event(message: str, *, stream: str = "a", at: int = 1_000) -> dict[str, Any]:
    return {"logStreamName": stream, "timestamp": at, "message": message}


def test_each_line_is_shown_once_also_where_lines_are_equal() -> None:
    first, seen = unseen(Counter(), [event("hello"), event("hello")])
    assert [e["message"] for e in first] == ["hello", "hello"]
    again, seen = unseen(seen, [event("hello"), event("hello")])
    assert again == []
    more, _ = unseen(seen, [event("hello"), event("hello"), event("hello"), event("hello", stream="b")])
    assert [e["logStreamName"] for e in more] == ["a", "b"]


def test_events_outside_the_window_are_forgotten() -> None:
    _, seen = unseen(Counter(), [event("old"), event("new", at=2_000)])
    fresh, seen = unseen(seen, [event("new", at=2_000)])
    assert fresh == []
    assert seen.total() == 1


@pytest.mark.parametrize(
    ("message", "text", "is_routine"),
    [
        ("hello\n", "hello", False),
        ('{"level": "ERROR", "message": "no"}', '{"level": "ERROR", "message": "no"}', False),
        ("[1]", "[1]", False),
        ("17", "17", False),
        ("REPORT RequestId: 1\tDuration: 68 ms\tBilled Duration: 68 ms", "68 ms", True),
        (
            json.dumps({"_aws": {"Timestamp": 1}, "Accepted": 1, "Confidence": 0.98956, "InferenceId": "0123"}),
            "Accepted 1, Confidence 0.9896",
            True,
        ),
        (
            '  File "/build/local/tmp/ministack-lambda-f-1/code/lambda_src/shared/aws.py", line 7, in f',
            '  File "lambda_src/shared/aws.py", line 7, in f',
            False,
        ),
    ],
)
def test_a_logged_line_loses_what_lambda_and_the_metric_format_put_around_it(
    message: str, text: str, is_routine: bool
) -> None:
    line = log_line("classifier", event(message))
    assert line
    assert (line.function, line.text, line.is_routine) == ("classifier", text, is_routine)


@pytest.mark.parametrize("message", ["START RequestId: 1 Version: $LATEST", "END RequestId: 1"])
def test_the_frame_of_an_invocation_is_not_shown(message: str) -> None:
    assert log_line("classifier", event(message)) is None


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Workflow-ClassificationWorkflow71F8BFFA-8BBC5B87BFE0A", "ClassificationWorkflow"),
        ("Bulk-DistributedMap5011BC68-464C2B92EB28D", "DistributedMap"),
        ("retraining", "retraining"),
    ],
)
def test_a_state_machine_is_shown_under_its_name_in_the_code(name: str, short: str) -> None:
    assert short_name(name) == short


AT = datetime(2026, 1, 1, 12, 30, 5)


def shown(*happened: LogLine | Outcome) -> list[str]:
    console = Console(width=60)
    with console.capture() as capture:
        stream = Stream(console)
        for one in happened:
            if isinstance(one, LogLine):
                stream.log(one)
            else:
                stream.outcome(one)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def image(outcome: str, **members: object) -> dict[str, Any]:
    return {"outcome": outcome, "s3_key": "incoming/cat.png", **members}


def test_an_ended_execution_is_shown_with_the_outcome_of_each_image() -> None:
    images = [
        image("ACCEPTED", label="bicycle", confidence=0.97123),
        image("FAILED", error="CorruptImageError", cause="neither PNG nor JPEG"),
    ]
    outcome = Outcome("ClassificationWorkflow", "FAILED", AT, 1.24, "InferencesFailed: 1 of 2 images failed", images)
    assert shown(outcome) == [
        "12:30:05 ClassificationWorkflow ✗ FAILED in 1.2 s, InferencesFailed: 1 of 2 images failed",
        "12:30:05 incoming/cat.png: bicycle, confidence 0.971, ACCEPTED",
        "12:30:05 incoming/cat.png: FAILED, CorruptImageError: neither PNG nor JPEG",
    ]


def test_many_images_are_counted() -> None:
    images = [image("ACCEPTED", label="bicycle", confidence=1.0)] * 60
    lines = shown(Outcome("ClassificationWorkflow", "SUCCEEDED", AT, 3.0, "", images))
    assert len(lines) <= 10
    assert "and 52 more images" in lines[-1]


def test_log_lines_of_functions_move_no_cursor_and_contain_no_markup() -> None:
    assert shown(LogLine("classifier", AT, "\x1b[2J[red]gone[/red]", is_routine=False)) == [
        "12:30:05 classifier \\u001b[2J[red]gone[/red]"
    ]
