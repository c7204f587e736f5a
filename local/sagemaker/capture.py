"""Data capture, written as SageMaker writes it.

Format: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html. One JSON object per
line, several per file, below `<destination>/<endpoint>/<variant>/YYYY/MM/DD/HH/`.
"""

import base64
import json
import logging
import random
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.sagemaker import storage
from local.sagemaker.errors import JobFailedError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FLUSH_SECONDS = 1.0
_EVENT_VERSION = "0"


class CaptureWriter:
    """Collects the requests of one variant and writes them every second."""

    def __init__(self, s3: "S3Client", config: dict[str, Any], *, endpoint_name: str, variant_name: str) -> None:
        self._s3 = s3
        self._destination = f"{config['DestinationS3Uri'].rstrip('/')}/{endpoint_name}/{variant_name}"
        self._modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
        self._share = config["InitialSamplingPercentage"] / 100
        headers = config.get("CaptureContentTypeHeader", {})
        self._encodings = {
            **dict.fromkeys(headers.get("CsvContentTypes", []), "CSV"),
            **dict.fromkeys(headers.get("JsonContentTypes", []), "JSON"),
        }
        self._pending: list[tuple[datetime, str]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._flush_regularly, daemon=True)
        self._thread.start()

    def record(
        self, *, request: bytes, request_type: str, response: bytes, response_type: str, inference_id: str | None
    ) -> None:
        """Capture one request and its response, if it is in the sample."""
        if random.random() >= self._share:  # noqa: S311 - a sample, not a secret
            return
        now = datetime.now(UTC)
        captured = {}
        if "Input" in self._modes:
            captured["endpointInput"] = self._payload("INPUT", request, request_type)
        if "Output" in self._modes:
            captured["endpointOutput"] = self._payload("OUTPUT", response, response_type)
        metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if inference_id:
            metadata["inferenceId"] = inference_id
        line = json.dumps({"captureData": captured, "eventMetadata": metadata, "eventVersion": _EVENT_VERSION})
        with self._lock:
            self._pending.append((now, line))

    def close(self) -> None:
        """Write the pending captures and stop."""
        self._closed.set()
        self._thread.join()

    def _payload(self, mode: str, data: bytes, content_type: str) -> dict[str, str]:
        encoding = self._encodings.get(content_type, "BASE64")
        text = base64.b64encode(data).decode() if encoding == "BASE64" else data.decode()
        return {"observedContentType": content_type, "mode": mode, "data": text, "encoding": encoding}

    def _flush_regularly(self) -> None:
        while not self._closed.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        hours: dict[str, list[str]] = {}
        for time, line in pending:
            hours.setdefault(time.strftime("%Y/%m/%d/%H"), []).append(line)
        for hour, lines in hours.items():
            name = f"{pending[0][0].strftime('%M-%S-%f')[:-3]}-{uuid.uuid4()}.jsonl"
            try:
                storage.write(self._s3, f"{self._destination}/{hour}/{name}", "".join(f"{x}\n" for x in lines).encode())
            except JobFailedError:  # as on AWS, a failed capture does not fail the request
                logging.exception("capture lost: %d records", len(lines))
