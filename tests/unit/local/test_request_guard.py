"""The local cloud refuses requests of web pages, and requests without an access key of this start."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ministack.app
import pytest
from ministack.core import lambda_runtime
from ministack.services import lambda_svc, sts

from local import authorization, cloud
from local.cloud import LocalCloud, Process
from local.request_guard import naming, refusal
from local.sagemaker.authorization import PATH

HOST = ("Host", "127.0.0.1:4566")
OWN_KEY = "LOCAL0123"
OF_THE_EMULATOR = lambda_runtime.execution_credentials
CONFIG = {
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "FunctionName": "f",
    "Role": "arn:aws:iam::000000000000:role/r",
}


@pytest.mark.parametrize("headers", [[HOST], [("host", HOST[1]), ("sec-fetch-site", "none")]])
def test_a_tools_request_passes(headers: list[tuple[str, str]]) -> None:
    assert refusal(headers, port=4566) == ""


@pytest.mark.parametrize(
    "header",
    [
        ("Origin", "http://127.0.0.1:8000"),
        ("origin", "http://127.0.0.1:4566"),
        ("ORIGIN", "null"),
        ("Origin", ""),
        *[("Sec-Fetch-Site", site) for site in ("cross-site", "same-site", "same-origin", "", "None")],
    ],
)
def test_requests_of_a_page_are_refused(header: tuple[str, str]) -> None:
    assert "web pages" in refusal([HOST, header], port=4566)


@pytest.mark.parametrize(
    "hosts", [[], ["127.0.0.1"], ["127.0.0.1:4567"], ["evil.example:4566"], ["localhost:4566"], [HOST[1], "evil:4566"]]
)
def test_a_name_that_leads_here_is_refused(hosts: list[str]) -> None:
    assert "http://127.0.0.1:4566 only" in refusal([("Host", host) for host in hosts], port=4566)


@pytest.fixture
def dispatched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What comes to the emulator's own application, which invites every origin."""
    dispatched: list[Any] = []

    async def emulator(scope: Any, receive: Any, send: Any) -> None:
        dispatched.append(scope)
        headers = [(b"Access-Control-Allow-Origin", b"*"), (b"x-amz-request-id", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setenv("GATEWAY_PORT", "4566")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWN_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWN_KEY)
    monkeypatch.setattr(sts, "_sessions", {"ASIAISSUED": {}})
    monkeypatch.setattr(ministack.app, "app", emulator)
    for module in (lambda_runtime, lambda_svc):
        monkeypatch.setattr(module, "execution_credentials", lambda_runtime.execution_credentials)
    authorization.register()
    return dispatched


def sent(*headers: tuple[str, str], query: str = "", kind: str = "http", path: str = "/") -> list[dict[str, Any]]:
    """What the guarded application answers."""
    answer: list[dict[str, Any]] = []
    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
    }

    async def receive() -> dict[str, Any]:
        return {"body": b'{"permissions": [], "access_key": "ASIAISSUED"}'}

    async def send(message: dict[str, Any]) -> None:
        answer.append(message)

    with pytest.raises(StopIteration):  # it waits for nothing, so it ends without an event loop, which needs sockets
        ministack.app.app(scope, receive, send).send(None)
    return answer


def key(access_key: str) -> tuple[str, str]:
    ((name, value),) = naming(access_key).items()
    return name, value


@pytest.mark.parametrize("access_key", [OWN_KEY, "ASIAISSUED"])
def test_a_known_key_is_dispatched_and_no_origin_invited(dispatched: list[Any], access_key: str) -> None:
    start, _ = sent(HOST, key(access_key))
    assert len(dispatched) == 1
    assert start["headers"] == [(b"x-amz-request-id", b"1")]


@pytest.mark.parametrize("credential", [f"X-Amz-Credential={OWN_KEY}%2F20261125%2Fr%2Fs3", f"AWSAccessKeyId={OWN_KEY}"])
def test_a_presigned_url_needs_a_known_key(dispatched: list[Any], credential: str) -> None:
    sent(HOST, query=credential.replace(OWN_KEY, "test"))
    assert dispatched == []
    sent(HOST, query=credential)
    assert len(dispatched) == 1


@pytest.mark.parametrize("path", ["/", PATH, "/_ministack/health", "/_ministack/reset"])
@pytest.mark.parametrize(
    "headers", [[], *[[key(unknown)] for unknown in ("test", "000000000000", "123456789012", "AKIAOTHER")]]
)
def test_without_a_known_key_nothing_is_dispatched(
    dispatched: list[Any], headers: list[tuple[str, str]], path: str
) -> None:
    start, body = sent(HOST, *headers, path=path)
    assert (start["status"], json.loads(body["body"])["__type"]) == (403, "UnrecognizedClientException")
    assert dispatched == []


@pytest.mark.parametrize("path", ["/", PATH])
@pytest.mark.parametrize("headers", [[HOST, ("Origin", "null")], [("Host", "evil.example:4566")]])
def test_a_page_that_knew_the_key_would_be_refused(
    dispatched: list[Any], headers: list[tuple[str, str]], path: str
) -> None:
    start, _ = sent(*headers, key(OWN_KEY), path=path)
    assert start["status"] == 403
    assert not [name for name, _ in start["headers"] if name.startswith(b"access-control")]
    assert dispatched == []


def test_a_web_socket_of_a_page_is_closed(dispatched: list[Any]) -> None:
    (message,) = sent(HOST, key(OWN_KEY), ("Origin", "null"), kind="websocket")
    assert message["type"] == "websocket.close"
    assert dispatched == []


def test_functions_get_the_key_of_this_start_and_then_one_that_no_name_gives_away(
    dispatched: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lambda_runtime.execution_credentials(CONFIG)["AWS_ACCESS_KEY_ID"] == OWN_KEY
    monkeypatch.setattr(ministack.app, "AUTH", True)
    first = lambda_runtime.execution_credentials(CONFIG)["AWS_ACCESS_KEY_ID"]
    assert first == lambda_svc.execution_credentials(CONFIG)["AWS_ACCESS_KEY_ID"]
    assert authorization.is_known(first)
    monkeypatch.setattr(lambda_runtime, "execution_credentials", OF_THE_EMULATOR)
    authorization.give_functions_keys_of_this_start()
    assert lambda_runtime.execution_credentials(CONFIG)["AWS_ACCESS_KEY_ID"] != first


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    def environment(**variables: str) -> dict[str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        processes = (Process("local.emulator", 1, 4566, OWN_KEY), Process("local.sagemaker", 2, 4567, OWN_KEY))
        return LocalCloud(*processes, Path("build/local")).environment

    return environment


def test_children_get_none_of_the_users_secrets(environment: Callable[..., dict[str, str]]) -> None:
    secrets = ("GITHUB_TOKEN", "NODE_AUTH_TOKEN", "HOMEBREW_GITHUB_API_TOKEN", "PIP_INDEX_URL", "SSH_AUTH_SOCK")
    found = environment(**dict.fromkeys(secrets, "secret"), PATH="/bin", LC_ALL="C", PYTHONHASHSEED="0", AUTH="1")
    assert "secret" not in found.values()
    assert "AUTH" not in found
    assert (found["PATH"], found["LC_ALL"], found["PYTHONHASHSEED"]) == ("/bin", "C", "0")


def test_everything_that_the_emulator_writes_is_below_the_clouds_own_directory(
    environment: Callable[..., dict[str, str]],
) -> None:
    found = environment()
    for name in ("TMPDIR", "STATE_DIR", "S3_DATA_DIR"):
        assert Path(found[name]).is_relative_to("build/local")
    source = "".join(path.read_text() for path in Path(ministack.app.__file__).parent.rglob("*.py"))
    defaults = set(re.findall(r'environ\.get\("(\w+)", "/tmp', source))
    assert defaults <= found.keys()


def test_a_start_makes_the_directory_private_and_a_key_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    class Started:
        pid, returncode = os.getpid(), 0

        def __init__(self, *_: object, env: dict[str, str], **__: object) -> None:
            keys.append(env["AWS_ACCESS_KEY_ID"])

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(cloud, "_wait_until_healthy", lambda *_: None)
    monkeypatch.setattr(cloud, "_free_ports", lambda _: (4566, 4567))
    monkeypatch.setattr(Process, "is_ours", lambda _: True)
    monkeypatch.setattr(Process, "stop", lambda _: None)
    directory = tmp_path / "local"
    directory.mkdir(mode=0o755)
    started = LocalCloud.start(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert LocalCloud.running(directory).environment == started.environment
    LocalCloud.start(directory)
    assert keys[0::2] == keys[1::2]  # of the emulator and of the stand-in
    assert len(set(keys)) == 2
    assert all(len(key) >= 32 for key in keys)
