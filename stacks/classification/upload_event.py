"""What an upload's event becomes as the input of the classification workflow: its detail.

No input transformer: it escapes no quote in a key, and leaves a hole in its JSON where a bucket keeps no versions
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html#eb-transform-input-issues).
A dead-letter queue holds the event as it was
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html), so that `ops replay` does the same.
"""

from collections.abc import Mapping
from typing import Any

INPUT_PATH = "$.detail"


def execution_input(event: Mapping[str, Any]) -> dict[str, Any]:
    """The workflow's input for an S3 event of EventBridge; raises KeyError if it is no such event."""
    detail: dict[str, Any] = event["detail"]
    detail["bucket"]["name"], detail["object"]["key"]
    return detail


def image_key(started_with: object) -> str:
    """The key of the image that an execution was started with, by an item or an upload; empty if by another input."""
    match started_with:
        case {"s3_key": str(key)} | {"object": {"key": str(key)}}:
            return key
    return ""
