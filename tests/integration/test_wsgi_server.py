"""The server that stands in for gunicorn: concurrent requests wait for their turn."""

import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

from local.sagemaker.wsgi_server import Server, _Handler


def test_a_burst_of_connections_waits_in_the_queue() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, ExitStack() as stack:
        path = str(Path(folder) / "socket")
        stack.enter_context(Server(path, _Handler))  # type: ignore[arg-type] # as in wsgi_server
        for _ in range(100):  # nobody accepts any of them yet
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(5)
            client.connect(path)
