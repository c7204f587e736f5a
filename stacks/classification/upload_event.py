"""What an upload's event becomes as the input of the classification workflow.

The rule transforms the event on its way; a dead-letter queue holds it as it was
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html), so that `ops replay` does the same.
"""

from collections.abc import Mapping
from typing import Any

# Members of the input by where they are in the event
FIELDS = {
    "s3_bucket": "detail.bucket.name",
    "s3_key": "detail.object.key",
    "s3_version_id": "detail.object.version-id",
}


def execution_input(event: Mapping[str, Any]) -> dict[str, str]:
    """The workflow's input for an S3 event of EventBridge; raises KeyError if it is no such event."""
    found = {"image_data": ""}
    for name, path in FIELDS.items():
        value: Any = event
        for member in path.split("."):
            value = value[member]
        found[name] = str(value)
    return found
