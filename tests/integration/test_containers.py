"""The stand-in's containers: the artifact's own code in a process, with SageMaker's contract for containers."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_src.shared import algorithms
from local.cloud import Process
from local.sagemaker import builtin
from local.sagemaker.container import Container
from local.sagemaker.errors import ContainerError, JobFailedError
from local.sagemaker.training import packed
from stacks.config import PROJECT_ROOT
from tests.container_tree import png, striped

UPRIGHT = png(striped(2, 2, seed=5)[0][1])  # of class 1
BUILTIN: dict[str, Any] = {
    "Image": "1.dkr.ecr.us-east-1.amazonaws.com/image-classification:1",
    "ModelDataUrl": "s3://b/k",
}
SCIKIT_LEARN: dict[str, Any] = {
    "Image": "1.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3",
    "ModelDataUrl": "s3://b/k",
    "Environment": algorithms.SCIKIT_LEARN.serving_environment,
}
# Code that returns what it sees of the machine
CURIOUS = """
import json, os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({**os.environ, "process": os.getpid()}).encode()]
"""


def curious() -> bytes:
    """An artifact of other code than this project's."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(CURIOUS)
        archive.addfile(member, io.BytesIO(CURIOUS.encode()))
    return buffer.getvalue()


@pytest.fixture(scope="module", params=[BUILTIN, SCIKIT_LEARN], ids=["built-in", "scikit-learn"])
def served(
    request: pytest.FixtureRequest, trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    model = tmp_path_factory.mktemp("artifact") / "model"
    shutil.copytree(trained / "model", model)
    if request.param is BUILTIN:
        builtin.disguise(model)
    with contextlib.closing(Container(packed(model), request.param)) as container:
        yield container


def test_an_image_is_answered_by_the_model(served: Container) -> None:
    probabilities = json.loads(served.invocations(UPRIGHT, content_type="application/x-image"))
    assert probabilities[1] > 0.5
    lines = served.invocations(UPRIGHT, content_type="image/png", accept="application/jsonlines")
    assert json.loads(lines) == {"prediction": probabilities}


@pytest.mark.parametrize(
    ("body", "content_type", "status"), [(b"no image", "application/x-image", 400), (UPRIGHT, "text/csv", 415)]
)
def test_a_refusal_has_the_containers_status(served: Container, body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(ContainerError) as caught:
        served.invocations(body, content_type=content_type)
    assert caught.value.status == status


def test_the_artifacts_own_code_answers_and_sees_the_models_variables_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with contextlib.closing(Container(curious(), SCIKIT_LEARN, variables={"SAGEMAKER_BATCH": "true"})) as container:
        seen = json.loads(container.invocations(b"", content_type="text/plain"))
    own = {"PATH", "LANG", "LC_CTYPE", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "process"}
    own |= {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}
    assert seen.keys() - own == {"SAGEMAKER_SERVING_MODULE", "PYTHONPATH", "SAGEMAKER_BATCH"}
    assert seen["PYTHONPATH"].endswith("/model/code")
    assert not seen["PYTHONPATH"].startswith("/opt")


def test_the_builtin_runs_no_code_of_an_artifact() -> None:
    with pytest.raises(JobFailedError, match="s3://b/k was not trained here"):
        Container(curious(), BUILTIN)


@pytest.mark.parametrize("artifact", [b"", b"not a tar"])
@pytest.mark.parametrize("definition", [BUILTIN, SCIKIT_LEARN])
def test_an_invalid_artifact_is_refused_with_its_name(artifact: bytes, definition: dict[str, Any]) -> None:
    with pytest.raises(JobFailedError, match="s3://b/k was not trained here"):
        Container(artifact, definition)


def test_a_model_that_cannot_be_loaded_fails_the_health_check(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "model" / "code", tmp_path / "code")
    (tmp_path / "model.npz").write_bytes(b"torn")
    with pytest.raises(JobFailedError, match=r"(?s)did not pass the ping health check with s3://b/k.*model\.npz is no"):
        Container(packed(tmp_path), SCIKIT_LEARN)


def test_script_mode_which_needs_the_network_is_refused() -> None:
    with pytest.raises(JobFailedError, match="no script mode: set SAGEMAKER_SERVING_MODULE"):
        Container(curious(), {**SCIKIT_LEARN, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}})


def is_running(pid: int) -> bool:
    return Process(program="wsgi_server.py", pid=pid).is_ours()


def test_a_container_ends_with_the_last_reference_to_it() -> None:
    container = Container(curious(), SCIKIT_LEARN)
    seen = json.loads(container.invocations(b"", content_type="text/plain"))
    assert is_running(seen["process"])
    del container
    assert not is_running(seen["process"])
    assert not Path(seen["PYTHONPATH"]).exists()


def test_a_container_and_its_files_end_with_the_stand_in_however_that_ends(tmp_path: Path) -> None:
    (tmp_path / "artifact").write_bytes(curious())
    program = (
        "import pathlib, sys; from local.sagemaker.container import Container; "
        f"container = Container(pathlib.Path({str(tmp_path / 'artifact')!r}).read_bytes(), {SCIKIT_LEARN!r}); "
        "print(container.invocations(b'', content_type='text/plain').decode(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stand_in:
        assert stand_in.stdout
        seen = json.loads(stand_in.stdout.readline())
        assert is_running(seen["process"])
        os.kill(stand_in.pid, signal.SIGKILL)
    while is_running(seen["process"]):
        time.sleep(0.05)
    assert not Path(seen["PYTHONPATH"]).parents[1].exists()
