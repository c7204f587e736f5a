"""Serves the model in SageMaker's scikit-learn container, as the WSGI application that its gunicorn runs.

The model needs the variables `SAGEMAKER_SERVING_MODULE=inference:app` and `PYTHONPATH=/opt/ml/model/code`. They name
this file in the artifact, so the container starts no script mode, which would install the code with pip and so need
the network. `OPENBLAS_NUM_THREADS=1` is worth setting too: gunicorn has a process for each core already.

Requests and answers are those of the built-in Image Classification
(https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html#IC-inputoutput); the rest is SageMaker's
contract for containers (https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html, and for
Batch Transform https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html).
"""

import json
import os
from functools import cache
from http import HTTPStatus
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import numpy as np

from images import CONTENT_TYPES, decode_image
from model import Model

MODEL_FILE = Path(__file__).absolute().parents[1] / "model.npz"
JSON, JSON_LINES = "application/json", "application/jsonlines"


class RefusedError(Exception):
    """When a request cannot be answered; `status` says in which way."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer one request (PEP 3333)."""
    try:
        status, (content_type, text) = HTTPStatus.OK, _answer(environ)
    except RefusedError as refusal:
        status, content_type, text = refusal.status, "text/plain; charset=utf-8", f"{refusal}\n"
    body = text.encode()
    start_response(f"{status} {status.phrase}", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]


def _answer(environ: WSGIEnvironment) -> tuple[str, str]:
    """Content type and text; raises RefusedError."""
    match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
        case "GET", "/ping":
            _model()  # SageMaker sends requests as soon as this has answered
            return JSON, ""
        case "GET", "/execution-parameters":
            # As many as gunicorn has processes; without this answer Batch Transform sends one image at a time
            parameters = {
                "MaxConcurrentTransforms": os.cpu_count(),
                "BatchStrategy": "SINGLE_RECORD",
                "MaxPayloadInMB": 6,
            }
            return JSON, json.dumps(parameters)
        case "POST", "/invocations":
            return _predict(environ)
        case method, path:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"there is no {method} {path}")


def _predict(environ: WSGIEnvironment) -> tuple[str, str]:
    # Also where it will be refused: whoever still sends would see a broken connection instead of the answer
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type not in CONTENT_TYPES:
        raise RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"content type must be one of {', '.join(CONTENT_TYPES)}, not {content_type!r}",
        )
    accept = environ.get("HTTP_ACCEPT", "")
    if accept not in {"", "*/*", JSON, JSON_LINES}:
        raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, f"Accept must be {JSON} or {JSON_LINES}, not {accept!r}")
    try:
        image = decode_image(body)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
    probabilities = _model().predict(image[np.newaxis])[0].tolist()
    if accept == JSON_LINES:
        return JSON_LINES, f"{json.dumps({'prediction': probabilities})}\n"
    return JSON, json.dumps(probabilities)


@cache
def _model() -> Model:
    return Model.load(MODEL_FILE)
