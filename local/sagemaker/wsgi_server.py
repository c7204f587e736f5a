"""Stands in for the container's gunicorn: `python wsgi_server.py MODULE:APPLICATION SOCKET` serves on a Unix socket.

The process imports nothing else of this project. It ends when its standard input is closed, and so with the process
that started it. It then removes the socket's folder.
"""

import importlib
import os
import shutil
import socket
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer


class Server(socketserver.ThreadingMixIn, WSGIServer):
    address_family = socket.AF_UNIX
    daemon_threads = True
    # gunicorn's backlog. A Unix socket refuses connections beyond it, if they have a time-out
    request_queue_size = 2048

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # WSGIServer expects host and port
        self.server_name, self.server_port = "container", 8080
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        return super().get_request()[0], ("", 0)  # clients of a Unix socket have no address


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Log no requests, only errors."""


def main(application: str, path: str) -> None:
    module, _, name = application.partition(":")
    with Server(path, _Handler) as server:  # type: ignore[arg-type] # typeshed knows no Unix sockets here
        server.set_app(getattr(importlib.import_module(module), name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        shutil.rmtree(Path(path).parent, ignore_errors=True)
        os._exit(0)  # without waiting for requests in progress


if __name__ == "__main__":
    main(*sys.argv[1:])
