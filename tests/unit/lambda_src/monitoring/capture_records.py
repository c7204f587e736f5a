"""Captures in SageMaker's documented format, and in its layout in a bucket."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from tests.unit.stored import place

START = datetime(2026, 1, 2, 3, 30, tzinfo=UTC)


def record(
    answer: str = "[0.97, 0.03]",
    *,
    time: datetime = START,
    encoding: str = "JSON",
    image: bytes = b"\x89PNG",
    **metadata: str,
) -> dict[str, Any]:
    """A capture as SageMaker documents it."""
    return {
        "captureData": {
            "endpointInput": {
                "observedContentType": "application/x-image",
                "mode": "INPUT",
                "data": base64.b64encode(image).decode(),
                "encoding": "BASE64",
            },
            "endpointOutput": {
                "observedContentType": "application/json",
                "mode": "OUTPUT",
                "data": answer,
                "encoding": encoding,
            },
        },
        "eventMetadata": {"eventId": "e-1", "inferenceTime": time.strftime("%Y-%m-%dT%H:%M:%SZ"), **metadata},
        "eventVersion": "0",
    }


def put(
    *records: object,
    hour: datetime,
    variant: str = "AllTraffic",
    name: str = "a.jsonl",
    bucket: str = "the-bucket",
) -> None:
    body = "".join(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in records)
    key = f"data-capture/scones-dev/{variant}/{hour:%Y/%m/%d/%H}/{name}"
    place(bucket, key, body)
