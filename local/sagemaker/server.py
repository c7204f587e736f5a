"""The HTTP side of the stand-in, on 127.0.0.1.

`POST /` is SageMaker's API in AWS's JSON 1.1 protocol; `POST /endpoints/<name>/invocations` is SageMaker Runtime's
InvokeEndpoint (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html); `GET /ping`
responds when the process is ready. This project's own paths are `POST /endpoints/<name>/faults`, which injects faults,
`GET /endpoints/<name>/requests`, the number of requests by InferenceId, and `POST /withheld`, the instance types that
training jobs cannot get.
"""

import contextlib
import json
import re
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local import request_guard
from local.sagemaker.authorization import UNKNOWN_KEY, access_key_of
from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.endpoint import RESPONSE_TYPE, Endpoint
from local.sagemaker.errors import ApiError, ContainerError
from local.sagemaker.fault import Fault

_MAX_BODY_BYTES = 25 * 1024 * 1024  # InvokeEndpoint's own limit
_ENDPOINT_PATH = re.compile(r"/endpoints/([A-Za-z0-9-]+)/(invocations|faults|requests)")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, control_plane: ControlPlane, *, is_known: Callable[[str], bool]) -> None:
        """is_known: whether requests with this access key are accepted."""
        super().__init__((request_guard.ADDRESS, port), _Handler)
        self.control_plane = control_plane
        self.is_known = is_known


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each response waits 40 ms for the client's acknowledgement
    server: Server

    def parse_request(self) -> bool:
        """Refuse every request of an unknown client."""
        if not super().parse_request():
            return False
        why = request_guard.refusal(self.headers.items(), port=self.server.server_port)
        if not why and not self.server.is_known(self._access_key):
            why = UNKNOWN_KEY
        if why:
            self.close_connection = True
            self._refuse(ApiError("UnrecognizedClientException", why, status=403))
        return not why

    def do_GET(self) -> None:
        try:
            if self.path == "/ping":
                self._respond(200, b"")
            else:
                endpoint, _ = self._endpoint()
                self._respond(200, json.dumps(endpoint.requests).encode())
        except ApiError as error:
            self._refuse(error)

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        if size > _MAX_BODY_BYTES:
            self.close_connection = True
            self._refuse(ApiError("ValidationError", f"{size} bytes, at most {_MAX_BODY_BYTES} are taken", status=413))
            return
        body = self.rfile.read(size)
        try:
            if self.path == "/":
                self._call_api(body)
            elif self.path == "/withheld":
                self.server.control_plane.withheld = json.loads(body)
                self._respond(200, b"")
            else:
                self._call_endpoint(body)
        except ApiError as error:
            self._refuse(error)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Log no requests, only errors."""

    def _call_api(self, body: bytes) -> None:
        operation = self.headers.get("X-Amz-Target", "").removeprefix("SageMaker.")
        response = self.server.control_plane.call(operation, json.loads(body or b"{}"), access_key=self._access_key)
        self._respond(200, json.dumps(response).encode(), content_type="application/x-amz-json-1.1")

    @property
    def _access_key(self) -> str:
        return access_key_of(self.headers.get("Authorization", ""))

    def _endpoint(self) -> tuple[Endpoint, str]:
        """The endpoint and the action in the path."""
        match = _ENDPOINT_PATH.fullmatch(self.path)
        endpoint = self.server.control_plane.endpoints.get(match[1]) if match else None
        if match is None or endpoint is None:
            raise ApiError("ValidationError", f"Endpoint of {self.path} not found.")
        return endpoint, match[2]

    def _call_endpoint(self, body: bytes) -> None:
        endpoint, wanted = self._endpoint()
        if wanted == "faults":
            endpoint.faults.extend(Fault(**fault) for fault in json.loads(body))
            self._respond(200, b"")
        else:
            request = {"EndpointName": endpoint.name}
            self.server.control_plane.check_permissions("InvokeEndpoint", request, access_key=self._access_key)
            self._invoke(endpoint, body)

    def _invoke(self, endpoint: Endpoint, body: bytes) -> None:
        inference_id = self.headers.get("X-Amzn-SageMaker-Inference-Id")
        variant, fault = endpoint.next_request(inference_id)
        if fault and fault.hangs_up:
            self.close_connection = True
            return
        try:
            response, variant_name = endpoint.invoke(
                variant,
                body,
                content_type=self.headers.get("Content-Type", "application/octet-stream"),
                inference_id=inference_id,
                fault=fault,
            )
        except ContainerError as error:
            self._respond(
                424,
                json.dumps(
                    {
                        "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if error.status < 500 else "INTERNAL_FAILURE_FROM_MODEL",
                        "Message": f"Received client error ({error.status}) from primary with message {str(error)!r}",
                        "OriginalMessage": str(error),
                        "OriginalStatusCode": error.status,
                    }
                ).encode(),
                headers={"x-amzn-ErrorType": "ModelError"},
            )
            return
        self._respond(
            200,
            response,
            content_type=RESPONSE_TYPE,
            headers={"x-Amzn-Invoked-Production-Variant": variant_name},
            drip_seconds=fault.drip_seconds if fault else 0,
        )

    def _refuse(self, error: ApiError) -> None:
        body = json.dumps({"__type": error.code, "message": str(error)}).encode()
        self._respond(error.status, body, headers={"x-amzn-ErrorType": error.code})

    def _respond(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        drip_seconds: float = 0,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if not drip_seconds:
            self.wfile.write(body)
            return
        with contextlib.suppress(OSError):  # the client gives up first
            for position in range(len(body)):
                self.wfile.write(body[position : position + 1])
                time.sleep(drip_seconds)
