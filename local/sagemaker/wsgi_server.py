"""What gunicorn is in a container: `python wsgi_server.py MODULE:APPLICATION SOCKET` serves on a Unix socket.

A process of its own, which imports nothing else of this project. It ends when its standard input is closed, and so
with the process that started it, however that ends; it then removes the socket's folder, as nobody else does.
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
    # gunicorn's backlog. A Unix socket refuses a connection beyond it, as one with a time-out does not wait
    request_queue_size = 2048

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # WSGIServer takes the address apart as host and port
        self.server_name, self.server_port = "container", 8080
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        return super().get_request()[0], ("", 0)  # a client of a Unix socket has no address


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Stay silent: the log is for what goes wrong."""


def main(application: str, path: str) -> None:
    module, _, name = application.partition(":")
    with Server(path, _Handler) as server:  # type: ignore[arg-type] # typeshed knows no Unix sockets here
        server.set_app(getattr(importlib.import_module(module), name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        shutil.rmtree(Path(path).parent, ignore_errors=True)
        os._exit(0)  # without the requests that nobody waits for


if __name__ == "__main__":
    main(*sys.argv[1:])
