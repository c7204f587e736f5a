"""`make ... LOCAL=1` with credentials of an account in the shell: no request may leave for it."""

import os
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.config import PROJECT_ROOT


class Listener(socketserver.ThreadingTCPServer):
    """Takes the place of AWS and of every proxy; notes who connects, and hangs up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.connections: list[object] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: object, client_address: object) -> None:
        self.connections.append(client_address)
        super().process_request(request, client_address)  # type: ignore[arg-type]


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project, in which no local cloud runs and none can be started."""
    copy = tmp_path / "checkout"
    for name in ("data_prep", "lambda_src", "local", "ops", "stacks"):
        shutil.copytree(PROJECT_ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "app.py", "cdk.json", "package.json", "requirements.txt"):
        shutil.copy(PROJECT_ROOT / name, copy)
    for name in (".venv", "node_modules"):
        (copy / name).symlink_to(PROJECT_ROOT / name)
    (copy / "build").write_text("a file where the local cloud would keep its state")
    return copy


def make(checkout: Path, listener: Listener, *arguments: str) -> "subprocess.CompletedProcess[str]":
    account = {
        "AWS_ACCESS_KEY_ID": "of-an-account",
        "AWS_SECRET_ACCESS_KEY": "of-an-account",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": listener.url,
        "AWS_MAX_ATTEMPTS": "1",
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), listener.url),
    }
    return subprocess.run(
        ["make", "--old-file=setup", *arguments],  # the tools are there, and installing them needs the network
        cwd=checkout,
        env={**os.environ, **account},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("command", ["deploy", "diff", "destroy"])
def test_without_a_local_cloud_nothing_runs_and_nothing_is_sent(
    checkout: Path, listener: Listener, command: str
) -> None:
    run = make(checkout, listener, command, "ENV=dev", "LOCAL=1", "YES=1")
    assert run.returncode != 0
    assert not listener.connections
    assert "Error: " in run.stderr


def test_the_listener_would_see_a_request_to_the_account(checkout: Path, listener: Listener) -> None:
    assert make(checkout, listener, "destroy", "ENV=dev", "YES=1").returncode != 0
    assert listener.connections
