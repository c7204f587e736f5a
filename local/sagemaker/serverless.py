"""The containers of a serverless endpoint: each starts for a request, serves one at a time, and ends when idle.

https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html. On AWS the start depends on image and
artifact, and the idle time is not documented. Both are short here, so that tests reach them.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from local.sagemaker.errors import ApiError, validation_error

COLD_START_SECONDS = 3.0
KEPT_SECONDS = 60.0
# https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-invoke.html
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024


class Containers:
    """At most MaxConcurrency containers. Requests beyond that are refused, because there is no queue."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._most = int(config["MaxConcurrency"])
        self._busy = 0
        self._idle_since: list[float] = []
        self._lock = threading.Lock()

    @contextmanager
    def container(self, request: bytes) -> Iterator[None]:
        """A container for the request, which waits while it starts; raises ApiError."""
        if len(request) > MAX_PAYLOAD_BYTES:
            raise validation_error(f"{len(request)} bytes; a serverless endpoint takes at most {MAX_PAYLOAD_BYTES}")
        with self._lock:
            if self._busy == self._most:
                raise ApiError("ThrottlingException", "Rate exceeded", status=429)
            self._busy += 1
            oldest = time.monotonic() - KEPT_SECONDS
            self._idle_since = [since for since in self._idle_since if since > oldest]
            is_warm = bool(self._idle_since)
            if is_warm:
                self._idle_since.pop()
        try:
            if not is_warm:
                time.sleep(COLD_START_SECONDS)
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._idle_since.append(time.monotonic())
