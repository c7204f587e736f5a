"""The part of S3 that one function needs, in a separate process: every byte goes through boto3 and HTTP."""

import contextlib
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The body that answers a GET of `/bucket/key` or of a listing, None for an object that does not exist
Answer = Callable[[SplitResult], bytes | None]


@contextlib.contextmanager
def s3_server(answer: Answer, *, latency_ms: float = 0, connections: int = 10) -> Iterator["S3Client"]:
    """A client of a server that sends this response, `latency_ms` after each request."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(theirs, answer, latency_ms / 1000), daemon=True)
    process.start()
    try:
        yield boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{ours.recv()}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=connections),
        )
    finally:
        process.terminate()


def _serve(pipe: Connection, answer: Answer, latency_seconds: float) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet for head and body
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            time.sleep(latency_seconds)
            body = answer(urlsplit(self.path))
            if body is None:
                self.answer(b"<Error><Code>NoSuchKey</Code></Error>", status=404)
            else:
                start = int(re.sub(r"\D", "", self.headers.get("Range") or "0"))
                self.answer(body[start:], status=206 if self.headers.get("Range") else 200)

        def do_PUT(self) -> None:
            time.sleep(latency_seconds)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(b"")

        def answer(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_address[1])
    server.serve_forever()
