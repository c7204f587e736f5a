"""An endpoint: a loaded model behind a name, with data capture, metrics and injected faults."""

import random
import threading
import time
from collections import Counter, deque
from contextlib import nullcontext
from typing import Any

from local.sagemaker import storage
from local.sagemaker.capture import CaptureWriter
from local.sagemaker.container import Container
from local.sagemaker.errors import ApiError, ContainerError
from local.sagemaker.fault import Fault
from local.sagemaker.metrics import EndpointMetrics
from local.sagemaker.serverless import Containers

# The algorithm's content type; SageMaker passes the container's header on
RESPONSE_TYPE = "application/json"


class Variant:
    """One production variant: a container that is ready for requests."""

    def __init__(self, *, endpoint_name: str, model: dict[str, Any], endpoint_config: dict[str, Any]) -> None:
        """Start the container; raises JobFailedError."""
        s3 = storage.as_role(model["ExecutionRoleArn"])
        definition = model["PrimaryContainer"]
        (variant,) = endpoint_config["ProductionVariants"]
        self.name: str = variant["VariantName"]
        self._containers = Containers(variant["ServerlessConfig"]) if "ServerlessConfig" in variant else None
        self._container = Container(storage.read(s3, definition["ModelDataUrl"]), definition)
        self._metrics = EndpointMetrics(endpoint_name=endpoint_name, variant_name=self.name)
        self._capture = None
        capture = endpoint_config.get("DataCaptureConfig")
        if capture and capture.get("EnableCapture", True):
            self._capture = CaptureWriter(s3, capture, endpoint_name=endpoint_name, variant_name=self.name)

    def invoke(self, body: bytes, *, content_type: str, inference_id: str | None, fault: Fault | None) -> bytes:
        """The container's response; raises ContainerError, or ApiError if no container is available."""
        with self._containers.container(body) if self._containers else nullcontext():
            return self._answer(body, content_type=content_type, inference_id=inference_id, fault=fault)

    def _answer(self, body: bytes, *, content_type: str, inference_id: str | None, fault: Fault | None) -> bytes:
        started = time.perf_counter()
        status = 200
        try:
            time.sleep(fault.delay_seconds if fault else 0)
            if fault and not fault.model_answers:
                response = _faulty(fault)
            else:
                response = self._container.invocations(body, content_type=content_type)
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
        """Write captures and metrics. The container ends with its last request."""
        if self._capture:
            self._capture.close()
        self._metrics.close()


def _faulty(fault: Fault) -> bytes:
    if fault.status >= 400:
        raise ContainerError(fault.status, fault.body)
    return fault.body.encode()


class Endpoint:
    """An endpoint, which moves from one variant to the next without refusing a request.

    During an update it has two variants, as in a blue/green deployment: a share of the requests goes to the new one,
    and the old one is kept until the new one has baked.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: deque[Fault] = deque()
        self.requests: Counter[str] = Counter()  # by InferenceId, including those with a fault
        self._blue: Variant | None = None
        self._green: Variant | None = None
        self._green_share = 0.0
        self._lock = threading.Lock()

    def serve(self, variant: Variant) -> None:
        """Send all new requests to `variant`. Requests in progress finish with the old one."""
        self.shift(variant, share=1.0)
        self.settle()

    def shift(self, variant: Variant, *, share: float) -> None:
        """Send a share of the new requests to a new variant."""
        with self._lock:
            self._green, self._green_share = variant, share

    def settle(self) -> None:
        """Complete the update: the old variant ends."""
        with self._lock:
            previous, self._blue, self._green = self._blue, self._green, None
            self._forget_canary()
        if previous:
            previous.close()

    def go_back(self) -> None:
        """Roll back: the old variant gets all requests again."""
        with self._lock:
            failed, self._green = self._green, None
            self._forget_canary()
        if failed:
            failed.close()

    def _forget_canary(self) -> None:
        self._green_share = 0.0
        self.faults = deque(fault for fault in self.faults if not fault.on_canary)

    def next_request(self, inference_id: str | None) -> tuple[Variant | None, Fault | None]:
        """Count a request, and choose its variant and its injected fault."""
        with self._lock:
            self.requests[inference_id or ""] += 1
            is_canary = self._green is not None and random.random() < self._green_share  # noqa: S311 - a share
            variant = self._green if is_canary else self._blue
            for fault in self.faults:
                if fault.inference_id in {"", inference_id} and fault.on_canary <= is_canary:
                    self.faults.remove(fault)
                    return variant, fault
        return variant, None

    def invoke(
        self,
        variant: Variant | None,
        body: bytes,
        *,
        content_type: str,
        inference_id: str | None,
        fault: Fault | None,
    ) -> tuple[bytes, str]:
        """The container's response and the variant's name; raises ApiError or ContainerError."""
        if fault and fault.service_error:
            time.sleep(fault.delay_seconds)
            raise ApiError(fault.service_error, fault.body or "ordered fault", status=fault.status)
        if variant is None:
            raise ApiError("ValidationError", f"Endpoint {self.name} is not in service")
        return variant.invoke(body, content_type=content_type, inference_id=inference_id, fault=fault), variant.name

    def close(self) -> None:
        with self._lock:
            for variant in (self._blue, self._green):
                if variant:
                    variant.close()
