"""Turns the event of an upload into the input of the classification workflow: the event's `detail`.

The rule uses InputPath, not an input transformer: that would not escape quotes in a key, and would produce invalid JSON
for a bucket without versioning
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html#eb-transform-input-issues).
A dead-letter queue keeps the whole event (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html),
so `ops replay` applies the same rule.
"""

from collections.abc import Mapping
from typing import Any

INPUT_PATH = "$.detail"


def execution_input(event: Mapping[str, Any]) -> dict[str, Any]:
    """The workflow's input for an event of S3 in EventBridge's form; raises KeyError for any other event."""
    detail: dict[str, Any] = event["detail"]
    detail["bucket"]["name"], detail["object"]["key"]
    return detail


def image_key(started_with: object) -> str:
    """The key of the image in an execution's input, if that is a single item or an upload's event; otherwise empty."""
    match started_with:
        case {"s3_key": str(key)} | {"object": {"key": str(key)}}:
            return key
    return ""
