"""The application that serves the artifact: SageMaker's contract for containers, and the built-in's documents."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import inference
from tests.container_tree import png, run_container, striped

UPRIGHT = png(striped(2, 2, seed=5)[0][1])  # of class 1


@pytest.fixture(autouse=True)
def artifact(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(inference, "MODEL_FILE", trained / "model" / "model.npz")
    yield
    inference._model.cache_clear()


def request(
    method: str, path: str, body: bytes = b"", *, content_type: str = "", accept: str = ""
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body, checked by wsgiref for what PEP 3333 demands."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "wsgi.input": io.BytesIO(body),
    }
    environ |= {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)), "QUERY_STRING": ""}
    if accept:
        environ["HTTP_ACCEPT"] = accept
    setup_testing_defaults(environ)
    answered: list[Any] = []
    chunks = validator(inference.app)(environ, lambda *given: answered.extend(given))  # type: ignore[arg-type]
    content = b"".join(chunks)
    chunks.close()  # type: ignore[attr-defined]
    status, headers = answered[:2]
    assert dict(headers)["Content-Length"] == str(len(content))
    return int(status.split()[0]), dict(headers), content.decode()


def test_a_ping_is_answered_once_the_model_is_in_memory() -> None:
    assert request("GET", "/ping")[0] == 200
    assert inference._model.cache_info().currsize == 1


def test_a_ping_fails_where_the_model_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inference, "MODEL_FILE", tmp_path / "model.npz")
    with pytest.raises(OSError, match=r"model\.npz"):  # which the server answers with 500
        request("GET", "/ping")


@pytest.mark.parametrize("content_type", ["application/x-image", "image/png", "image/jpeg"])
@pytest.mark.parametrize("accept", ["", "*/*", "application/json"])
def test_an_image_is_answered_with_a_json_list_of_probabilities(content_type: str, accept: str) -> None:
    status, headers, body = request("POST", "/invocations", UPRIGHT, content_type=content_type, accept=accept)
    assert (status, headers["Content-Type"]) == (200, "application/json")  # exactly, for a capture to hold it as JSON
    probabilities = json.loads(body)
    assert len(probabilities) == 2
    assert sum(probabilities) == pytest.approx(1)
    assert probabilities[1] > 0.5


def test_json_lines_hold_the_list_as_a_prediction() -> None:
    lists = request("POST", "/invocations", UPRIGHT, content_type="image/png")[2]
    status, headers, lines = request(
        "POST", "/invocations", UPRIGHT, content_type="image/png", accept="application/jsonlines"
    )
    assert (status, headers["Content-Type"]) == (200, "application/jsonlines")
    assert lines.endswith("}\n")
    assert json.loads(lines) == {"prediction": json.loads(lists)}


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status"),
    [
        (b"no image", "application/x-image", "", 400),
        (b"", "application/x-image", "", 400),
        (UPRIGHT[:60], "application/x-image", "", 400),
        (UPRIGHT, "text/csv", "", 415),
        (UPRIGHT, "", "", 415),
        (UPRIGHT, "image/png", "text/csv", 406),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(body: bytes, content_type: str, accept: str, status: int) -> None:
    answered, headers, _ = request("POST", "/invocations", body, content_type=content_type, accept=accept)
    assert answered == status
    assert headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/invocations"), ("POST", "/ping")])
def test_there_is_nothing_else(method: str, path: str) -> None:
    assert request(method, path)[0] == 404


def test_the_container_returns_the_parameters_of_batch_transform() -> None:
    limits = json.loads(request("GET", "/execution-parameters")[2])
    assert limits["MaxConcurrentTransforms"] >= 1
    assert (limits["BatchStrategy"], limits["MaxPayloadInMB"]) == ("SINGLE_RECORD", 6)


def test_the_artifact_serves_itself_as_the_models_variables_say(trained: Path) -> None:
    """In a process of its own, which finds the code by PYTHONPATH and the model by the code's place."""
    served = run_container(
        trained,
        # CGI, because a unit test opens no socket
        *("-c", "from wsgiref.handlers import CGIHandler; from inference import app; CGIHandler().run(app)"),
        stdin=UPRIGHT,
        PYTHONPATH=str(trained / "model" / "code"),
        REQUEST_METHOD="POST",
        PATH_INFO="/invocations",
        CONTENT_TYPE="application/x-image",
        CONTENT_LENGTH=str(len(UPRIGHT)),
    )
    assert served.returncode == 0, served.stderr
    headers, _, answer = served.stdout.partition(b"\r\n\r\n")
    assert headers.startswith(b"Status: 200 OK\r\nContent-Type: application/json\r\n")
    assert json.loads(answer)[1] > 0.5
