"""A page in a real browser against the local cloud's two servers: even with the access key it can start nothing."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import ministack.app
import pytest
from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from local import authorization
from local.cloud import Process, _free_ports
from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.server import Server
from tests.integration.browser import LOOPBACK_ONLY, Browser, opened, started

KEY = "LOCAL0123"
CREDENTIAL = f"X-Amz-Credential={KEY}%2F20261125%2Fus-east-1%2Flambda%2Faws4_request"  # where a page can put it

# Sends the given requests, reports when all are sent, and continues with or without responses
PAGE = """<!doctype html><meta charset="utf-8"><title>A page</title><body><output id="sent"></output><script>
  const send = ([url, body]) => fetch(url, {method: "POST", mode: "no-cors", body}).catch(() => null);
  Promise.all(%s.map(send)).then(() => { document.getElementById("sent").textContent = "all sent"; });
</script>"""


class Site(ThreadingHTTPServer):
    """The page's own origin, and another one that takes whatever a page sends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page = ""
        self.posts: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self._answer(self.server.page.encode())

    def do_POST(self) -> None:
        self.server.posts.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(b"")

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Finds a name that leads to this machine."""
    rules = "--host-resolver-rules=MAP rebound.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with started(tmp_path_factory.mktemp("profile"), rules) as found:
        yield found


@pytest.fixture
def sites() -> Iterator[tuple[Site, Site]]:
    with Site() as page, Site() as control:
        for site in (page, control):
            threading.Thread(target=site.serve_forever, daemon=True).start()
        yield page, control
        page.shutdown()
        control.shutdown()


@pytest.fixture
def sagemaker(tmp_path: Path) -> Iterator[Server]:
    with Server(0, ControlPlane(cache=tmp_path), is_known=lambda _: True) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Process, list[str]]]:
    """The emulator's server and guard, and the paths of what comes through to its dispatcher."""
    dispatched: list[str] = []

    async def dispatcher(scope: Any, _: Any, send: Any) -> None:
        if scope["type"] == "http":
            dispatched.append(scope["path"])
            await send({"type": "http.response.start", "status": 201, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    (port,) = _free_ports(1)
    monkeypatch.setenv("GATEWAY_PORT", str(port))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setattr(ministack.app, "app", dispatcher)
    for module in (lambda_runtime, lambda_svc):
        monkeypatch.setattr(module, "execution_credentials", lambda_runtime.execution_credentials)
    authorization.register()
    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{port}"]
    loop, ended = asyncio.new_event_loop(), asyncio.Event()

    def serve() -> None:
        serving: Any = hypercorn.asyncio.serve(ministack.app.app, config, shutdown_trigger=ended.wait)
        loop.run_until_complete(serving)
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield Process("emulator", 0, port, KEY), dispatched
    loop.call_soon_threadsafe(ended.set)
    thread.join()


def test_a_page_that_has_the_key_can_start_nothing(
    emulator: tuple[Process, list[str]], sagemaker: Server, sites: tuple[Site, Site], browser: Browser
) -> None:
    process, dispatched = emulator
    page, control = sites
    create_function = f"{process.url}/2015-03-31/functions?{CREDENTIAL}"
    withhold = f"http://127.0.0.1:{sagemaker.server_port}/withheld"
    page.page = PAGE % json.dumps(
        [(create_function, "{}"), (withhold, '{"ml.m5.large": "quota"}'), (control.url, "seen")]
    )
    assert ">all sent</output>" in opened(browser, page.url)
    assert control.posts == [b"seen"]
    assert (dispatched, sagemaker.control_plane.withheld) == ([], {})
    # The very requests, but for the browser's headers
    for url, body in ((create_function, b"{}"), (withhold, b'{"ml.m5.large": "quota"}')):
        with urllib.request.urlopen(url, body, timeout=60):  # noqa: S310 - our own address
            pass
    assert (dispatched, sagemaker.control_plane.withheld) == (["/2015-03-31/functions"], {"ml.m5.large": "quota"})


def test_a_name_that_leads_to_the_local_cloud_opens_nothing(
    emulator: tuple[Process, list[str]], sagemaker: Server, browser: Browser
) -> None:
    process, dispatched = emulator
    for port in (process.port, sagemaker.server_port):
        url = f"http://rebound.example:{port}/ping?{CREDENTIAL}"
        browser.start_over()  # with a clock that goes
        assert f"takes requests for http://127.0.0.1:{port} only" in opened(browser, url)
    assert dispatched == []


def test_a_browser_starts_however_deep_the_local_cloud_s_temporary_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with started(tmp_path / "profile", LOOPBACK_ONLY) as browser:
        assert browser.evaluate("location.href") == "about:blank"
