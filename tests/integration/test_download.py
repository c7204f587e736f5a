"""Downloads from a real HTTPS server on the loopback interface, with injected faults."""

import hashlib
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from data_prep import fetch
from data_prep.errors import DownloadError
from data_prep.fetch import HostUnreachableError, RemoteArchive, download, fetch_archive

CONTENT = bytes(range(256)) * 12_000


class Server(ThreadingHTTPServer):
    """Serves CONTENT; each request takes the next of `faults`, and its Range header is noted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.resumes = True
        self.faults: list[int | str] = []
        self.ranges: list[str | None] = []

    def remote(self, scheme: str = "https", **changes: str) -> RemoteArchive:
        port = self.server_address[1]
        return RemoteArchive(
            url=changes.get("url", f"{scheme}://localhost:{port}/files/archive.tar.gz"),
            length=len(CONTENT),
            md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
            sha256=hashlib.sha256(CONTENT).hexdigest(),
        )


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Location", "http://localhost/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, start = self.server.content, 0
        if self.server.resumes and (wanted := self.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        self.wfile.write(rest[: len(rest) // 2] if fault == "break off" else rest)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setattr("time.sleep", lambda _: None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with Server() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def files(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


def test_the_archive_is_downloaded_once(server: Server, cache: Path) -> None:
    advance: list[int] = []
    path = download(server.remote(), cache, lambda _stage, done, _total: advance.append(done))
    assert path.read_bytes() == CONTENT
    assert advance == sorted(advance)
    assert advance[-1] == len(CONTENT)
    assert download(server.remote(), cache) == path
    assert server.ranges == [None]
    assert files(cache) == {"archive.tar.gz"}


def test_a_broken_cached_file_is_replaced(server: Server, cache: Path) -> None:
    path = download(server.remote(), cache)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert download(server.remote(), cache).read_bytes() == CONTENT


def test_an_interrupted_download_resumes_where_it_stopped(server: Server, cache: Path) -> None:
    server.faults = ["break off", "break off"]
    assert download(server.remote(), cache).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_an_interrupted_command_continues_where_it_stopped(server: Server, cache: Path) -> None:
    server.faults = ["break off"] * fetch.ATTEMPTS
    with pytest.raises(DownloadError, match=r"interrupted at [\d,]+ of 3,072,000 bytes.*run the command again"):
        download(server.remote(), cache)
    assert files(cache) == {"archive.tar.gz.part"}
    assert download(server.remote(), cache).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={len(CONTENT) - len(CONTENT) // 2**fetch.ATTEMPTS}-"


def test_a_server_that_does_not_resume_sends_all_again(server: Server, cache: Path) -> None:
    server.resumes = False
    server.faults = ["break off"]
    assert download(server.remote(), cache).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"another file's beginning", b"x" * len(CONTENT), b"x" * (len(CONTENT) + 9)])
def test_a_part_of_another_file_is_thrown_away(server: Server, cache: Path, left: bytes) -> None:
    cache.mkdir()
    (cache / "archive.tar.gz.part").write_bytes(left)
    assert download(server.remote(), cache).read_bytes() == CONTENT
    assert files(cache) == {"archive.tar.gz"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONTENT[:-1] + b"x", "md5 is"),
        (b"<html>Please log in</html>", "length is 26|interrupted at 26"),
        (CONTENT + b"x", "sends more than the archive's 3,072,000 bytes"),
    ],
)
def test_something_else_than_the_archive_never_gets_its_name(
    server: Server, cache: Path, content: bytes, reason: str
) -> None:
    server.content = content
    with pytest.raises(DownloadError, match=reason):
        download(server.remote(), cache)
    assert "archive.tar.gz" not in files(cache)


def test_a_busy_server_is_asked_again(server: Server, cache: Path) -> None:
    server.faults = [503, 429]
    assert download(server.remote(), cache).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 403, 301])
def test_refusals_and_redirects_are_errors(server: Server, cache: Path, status: int) -> None:
    server.faults = [status] * 9
    with pytest.raises(DownloadError, match=str(status)):
        download(server.remote(), cache)


def test_plain_http_is_not_used(server: Server, cache: Path) -> None:
    with pytest.raises(DownloadError, match="only https is used"):
        download(server.remote("http"), cache)
    assert not server.ranges


def test_an_untrusted_certificate_is_an_error(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(DownloadError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        download(server.remote(), cache)
    assert not isinstance(caught.value, HostUnreachableError)


def test_downloads_at_the_same_time_share_one(server: Server, cache: Path) -> None:
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(lambda _: download(server.remote(), cache), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert server.ranges == [None]


@pytest.mark.parametrize("url", ["https://localhost:1/archive.tar.gz", "https://host.invalid/archive.tar.gz"])
def test_an_unreachable_host_stops_a_command_except_in_the_local_cloud(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(fetch, "synthetic_archive", lambda *_: cache / "synthetic")
    remote, said = server.remote(url=url), list[str]()

    def fetched(*, synthetic: bool = False) -> Path:
        classes = ("bicycle", "motorcycle")
        return fetch_archive(remote, classes=classes, cache=cache, synthetic=synthetic, say=said.append)

    with pytest.raises(DownloadError, match=r"cannot be reached.*`--archive PATH`.*`--synthetic`"):
        fetched()
    assert fetched(synthetic=True) == cache / "synthetic"
    assert said == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert fetched() == cache / "synthetic"
    (line,) = said
    assert line.endswith(
        "cannot be reached; using synthetic images instead of CIFAR-100, because this is the local cloud"
    )


def test_no_image_is_synthetic_when_the_host_answers_something_else(server: Server, cache: Path) -> None:
    server.faults = [404]
    with pytest.raises(DownloadError):
        fetch_archive(server.remote(), classes=("bicycle",), cache=cache, say=pytest.fail)
