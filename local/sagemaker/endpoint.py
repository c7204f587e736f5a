"""An endpoint: one loaded model behind a name, captured and measured, with faults to order."""

import threading
import time
from collections import Counter, deque
from typing import Any

from local.sagemaker import storage
from local.sagemaker.capture import CaptureWriter
from local.sagemaker.container import Container
from local.sagemaker.errors import ApiError, ContainerError
from local.sagemaker.fault import Fault
from local.sagemaker.metrics import EndpointMetrics

# What the algorithm answers; SageMaker hands the container's header on
RESPONSE_TYPE = "application/json"


class Variant:
    """One production variant: the artifact in memory, ready to answer."""

    def __init__(self, *, endpoint_name: str, model: dict[str, Any], endpoint_config: dict[str, Any]) -> None:
        """Load the artifact; raises JobFailedError."""
        s3 = storage.as_role(model["ExecutionRoleArn"])
        uri = model["PrimaryContainer"]["ModelDataUrl"]
        self.name: str = endpoint_config["ProductionVariants"][0]["VariantName"]
        self._container = Container(storage.read(s3, uri), uri=uri)
        self._metrics = EndpointMetrics(endpoint_name=endpoint_name, variant_name=self.name)
        self._capture = None
        capture = endpoint_config.get("DataCaptureConfig")
        if capture and capture.get("EnableCapture", True):
            self._capture = CaptureWriter(s3, capture, endpoint_name=endpoint_name, variant_name=self.name)

    def invoke(self, body: bytes, *, content_type: str, inference_id: str | None, fault: Fault | None) -> bytes:
        """The container's answer; raises ContainerError."""
        started = time.perf_counter()
        status = 200
        try:
            response = self._container.invocations(body, content_type) if fault is None else _faulty(fault)
        except ContainerError as error:
            status = error.status
            raise
        finally:
            self._metrics.invoked(status=status, seconds=time.perf_counter() - started)
        if self._capture:
            self._capture.record(
                request=body,
                request_type=content_type,
                response=response,
                response_type=RESPONSE_TYPE,
                inference_id=inference_id,
            )
        return response

    def close(self) -> None:
        """Write what was captured and measured, and stop."""
        if self._capture:
            self._capture.close()
        self._metrics.close()


def _faulty(fault: Fault) -> bytes:
    if fault.status >= 400:
        raise ContainerError(fault.status, fault.body)
    return fault.body.encode()


class Endpoint:
    """The name that clients call. It moves from one variant to the next without refusing a request."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: deque[Fault] = deque()
        self.requests: Counter[str] = Counter()  # by InferenceId, those that met a fault included
        self._variant: Variant | None = None
        self._lock = threading.Lock()

    def serve(self, variant: Variant) -> None:
        """Send new requests to `variant`; those under way end where they began."""
        with self._lock:
            previous, self._variant = self._variant, variant
        if previous:
            previous.close()

    def invoke(
        self, body: bytes, *, content_type: str, inference_id: str | None, fault: Fault | None
    ) -> tuple[bytes, str]:
        """The container's answer and the variant's name; raises ApiError or ContainerError."""
        if fault:
            time.sleep(fault.delay_seconds)
            if fault.service_error:
                raise ApiError(fault.service_error, fault.body or "ordered fault", status=fault.status)
        with self._lock:
            variant = self._variant
        if variant is None:
            raise ApiError("ValidationError", f"Endpoint {self.name} is not in service")
        return variant.invoke(body, content_type=content_type, inference_id=inference_id, fault=fault), variant.name

    def close(self) -> None:
        with self._lock:
            if self._variant:
                self._variant.close()

    def next_fault(self, inference_id: str | None) -> Fault | None:
        """Count the request, and take out the fault that was ordered for it."""
        with self._lock:
            self.requests[inference_id or ""] += 1
            for fault in self.faults:
                if fault.inference_id in {"", inference_id}:
                    self.faults.remove(fault)
                    return fault
        return None
