"""A listener that stands in for AWS and for every proxy: each connection would have left this machine."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Listener(socketserver.ThreadingTCPServer):
    """Records connections, and closes them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.connections: list[object] = []

    def process_request(self, request: object, client_address: object) -> None:
        self.connections.append(client_address)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def as_proxy(self) -> dict[str, str]:
        """The environment variables that send every request here."""
        return dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), self.url)


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener until the end of the block."""
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
