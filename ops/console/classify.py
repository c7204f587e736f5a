"""The page Classify uploads pictures to `incoming/` and shows their outcomes."""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from data_prep.aws_errors import explain
from lambda_src.classification.serialize_image_data import MAX_IMAGE_BYTES
from lambda_src.shared.errors import ImageError
from lambda_src.shared.stored_image import version_of
from ops import aws
from ops.console.activity import Execution, Image, Recent
from ops.console.parts import Part, part, refusal_reason
from ops.console.pictures import redrawn
from ops.console.site import site
from ops.console.views import page
from stacks.shared import prefixes

MAX_SHOWN = 100
MAX_NAME_BYTES = 200


@dataclass(frozen=True)
class Upload:
    """A picture that was dropped onto the page: in progress, refused, or with an outcome."""

    name: str
    time: datetime
    key: str = ""
    version_id: str = ""
    refusal: str = ""
    outcome: Image | None = None
    execution: Execution | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it has no final outcome yet. WAITING is not final: a resume classifies the picture."""
        return not self.refusal and (self.outcome is None or self.outcome.outcome == "WAITING")


class Uploads:
    """The uploads since the console started, newest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uploads: list[Upload] = []

    def add(self, upload: Upload) -> None:
        with self._lock:
            self._uploads = [upload, *self._uploads][:MAX_SHOWN]

    def all(self) -> Sequence[Upload]:
        return self._uploads

    def settle(self, recent: Recent) -> None:
        """Set each upload's outcome to the latest one that an execution has for this version of the object."""
        found = {
            (image.key, image.version_id): (image, execution)
            for execution in reversed(recent.executions)  # newest last, so that the newest outcome wins
            for image in execution.outcomes.images
        }
        with self._lock:
            self._uploads = [
                replace(upload, outcome=outcome[0], execution=outcome[1])
                if upload.is_pending and (outcome := found.get((upload.key, upload.version_id)))
                else upload
                for upload in self._uploads
            ]


def classify(request: Request) -> Response:
    return page(request, "classify.html", **_uploads(request))


def refreshed(request: Request) -> Response:
    return page(request, "uploads.html", **_uploads(request))


def upload(request: Request) -> Response:
    """Expects one file as the body, and its percent-encoded name in X-File-Name; returns the list of uploads."""
    name = PurePosixPath(unquote(request.headers.get("X-File-Name", ""))).name or "picture"
    request.app.state.uploads.add(_uploaded(site(request).bucket, name, request.state.body))
    return refreshed(request)


def _uploaded(bucket: str, name: str, data: bytes) -> Upload:
    """Store a picture under a new key. Pictures that the workflow would refuse are refused here, with the reason."""
    now = datetime.now(UTC)
    try:
        redrawn(data, name=name)
    except ImageError as error:
        return Upload(name, now, refusal=f"{type(error).__name__}: {error}")
    key = f"{prefixes.INCOMING}{_free_name(name)}"
    try:
        stored = aws.s3().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except ClientError as error:
        return Upload(name, now, refusal=refusal_reason(error, on=f"s3://{bucket}/{prefixes.INCOMING}"))
    except BotoCoreError as error:
        return Upload(name, now, refusal=str(explain(error)))
    return Upload(name, now, key, version_of(stored))


def _free_name(name: str) -> str:
    """The file's name with a random part. The write is conditional in any case."""
    path = PurePosixPath(name)
    stem = path.stem.encode()[: MAX_NAME_BYTES - len(path.suffix.encode())].decode("utf-8", "ignore")
    return f"{stem}-{secrets.token_hex(4)}{path.suffix}"


def _uploads(request: Request) -> dict[str, Any]:
    uploads: Uploads = request.app.state.uploads
    recent: Part[Recent] = Part()
    if any(upload.is_pending for upload in uploads.all()):
        recent = part(request.app.state.activity.recent, on=f"the executions of {site(request).config.stage_name}")
        if recent.value:
            uploads.settle(recent.value)
    return {"uploads": uploads.all(), "missing": recent.missing, "max_bytes": MAX_IMAGE_BYTES}


ROUTES = [
    Route("/classify", classify),
    Route("/classify/uploads", refreshed),
    Route("/classify/upload", upload, methods=["POST"]),
]
