"""Runs SageMaker's containers as processes on this machine: the same entry points in the same tree of files.

A process gets the variables of the request and few others, and its own folder in place of `/opt/ml`. It is not
isolated like a container: it can read other files, and use the network.
"""

import http.client
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambda_src.shared.algorithms import SCIKIT_LEARN
from local.sagemaker import builtin, wsgi_server
from local.sagemaker.errors import ContainerError, JobFailedError

ROOT = "/opt/ml"
# https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html: a container has 8 minutes to be
# healthy, and 60 seconds for an answer
_START_TIMEOUT_SECONDS = 480
_INVOCATION_TIMEOUT_SECONDS = 60
_LOG_CHARACTERS = 600


def is_scikit_learn(image: str) -> bool:
    """Whether this is SageMaker's scikit-learn container; any other is treated as the built-in algorithm's."""
    return f"/{SCIKIT_LEARN.repository}:" in image


def process_environment(variables: Mapping[str, str], root: Path) -> dict[str, str]:
    """The variables of a container's process whose /opt/ml is `root`."""
    return {
        # As the container's Dockerfile has them
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        # Unlike there: this machine's processors are shared
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **{name: value.replace(ROOT, str(root)) for name, value in variables.items()},
    }


class Container:
    """One container that serves a model artifact through /ping and /invocations.

    Its process ends with `close`, or with the last reference to the object, so that requests under way are answered.
    """

    def __init__(self, artifact: bytes, definition: Mapping[str, Any], *, variables: Mapping[str, str] = {}) -> None:
        """Start it and wait until it is healthy; raises JobFailedError.

        definition: the model's ContainerDefinition. variables: more than its own, as a transform job has them.
        """
        # Not below TMPDIR, whose path may be long: a socket's path has at most 104 characters
        folder = Path(tempfile.mkdtemp(prefix="scones-", dir="/tmp"))
        processes: list[subprocess.Popen[bytes]] = []
        self.close = weakref.finalize(self, _end, processes, folder)
        self._socket, self._log = folder / "socket", folder / "log"
        environment = {**definition.get("Environment", {}), **variables}
        try:
            with tarfile.open(fileobj=io.BytesIO(artifact)) as archive:
                archive.extractall(folder / "model", filter="data")
            if not is_scikit_learn(definition["Image"]):
                builtin.reveal(folder / "model")
                environment |= SCIKIT_LEARN.serving_environment
        except (tarfile.TarError, EOFError, OSError) as error:
            uri = definition["ModelDataUrl"]
            raise JobFailedError(f"{uri} was not trained here, and nothing else is served: {error}") from error
        if "SAGEMAKER_SERVING_MODULE" not in environment:
            raise JobFailedError(
                "the local stand-in has no script mode: set SAGEMAKER_SERVING_MODULE, as network isolation demands"
            )
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                # -P: no module is imported from the server's folder
                [sys.executable, "-P", wsgi_server.__file__, environment["SAGEMAKER_SERVING_MODULE"], self._socket],
                cwd=folder,
                env=process_environment(environment, folder),
                stdin=subprocess.PIPE,  # the process ends when this is closed
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        processes.append(self._process)
        self._wait_until_healthy(definition["ModelDataUrl"])

    def invocations(self, body: bytes, *, content_type: str, accept: str = "") -> bytes:
        """The container's response to one request; raises ContainerError."""
        headers = {"Content-Type": content_type, **({"Accept": accept} if accept else {})}
        try:
            status, answer = self._request("POST", "/invocations", body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise ContainerError(500, f"no answer from the container: {error}; its log: {self._log_tail()}") from error
        if status != 200:
            raise ContainerError(status, answer.decode(errors="replace").strip())
        return answer

    def _request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> tuple[int, bytes]:
        connection = _Connection(str(self._socket))
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _wait_until_healthy(self, uri: str) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                status, _ = self._request("GET", "/ping")
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if status == 200:
                return
            break
        raise JobFailedError(
            f"The primary container did not pass the ping health check with {uri}. Its log ends: {self._log_tail()}"
        )

    def _log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-_LOG_CHARACTERS:]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("container", timeout=_INVOCATION_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _end(processes: "list[subprocess.Popen[bytes]]", folder: Path) -> None:
    for process in processes:
        with process:
            process.kill()
    shutil.rmtree(folder)
