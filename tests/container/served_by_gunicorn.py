"""Serves the artifact with the container's own server, gunicorn with gevent, which the project does not install."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from tests.container_tree import png, striped

IMAGES, LABELS = striped(2, 16, seed=5)


class Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("container", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def request(path: str, method: str, url: str, body: bytes = b"", content_type: str = "") -> tuple[int, str, bytes]:
    connection = Connection(path)
    try:
        connection.request(method, url, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def gunicorn(trained: Path) -> Iterator[str]:
    """Its socket. The command is that of sagemaker-containers 2.8.6.post2 (_server.py), which nginx stands before."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(trained / "model" / "code")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    paths = subprocess.run(
        [sys.executable, "-c", "import sys; print(','.join(sys.path))"],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()
    with TemporaryDirectory(dir="/tmp") as folder:
        path = f"{folder}/gunicorn.sock"
        command = [sys.executable, "-m", "gunicorn", "--timeout", "60", "-k", "gevent", "--pythonpath", paths]
        command += ["-b", f"unix:{path}", "--worker-connections", "2000", "-w", "2", "--log-level", "info"]
        with subprocess.Popen([*command, "inference:app"], env=environment, cwd="/") as process:
            while not Path(path).exists() and process.poll() is None:
                time.sleep(0.05)
            yield path
            process.terminate()


def test_a_ping_is_answered(gunicorn: str) -> None:
    assert request(gunicorn, "GET", "/ping")[0] == 200


def test_images_that_come_at_a_time_each_get_their_own_answer(gunicorn: str) -> None:
    def classify(image: bytes) -> list[float]:
        status, content_type, body = request(gunicorn, "POST", "/invocations", image, "application/x-image")
        assert (status, content_type) == (200, "application/json")
        probabilities: list[float] = json.loads(body)
        return probabilities

    with ThreadPoolExecutor(8) as pool:
        probabilities = np.array(list(pool.map(classify, map(png, IMAGES))))
    assert probabilities.argmax(axis=1).tolist() == LABELS.tolist()


def test_a_refusal_reaches_who_still_sends(gunicorn: str) -> None:
    assert request(gunicorn, "POST", "/invocations", bytes(5_000_000), "text/csv")[0] == 415
