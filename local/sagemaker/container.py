"""What runs in the model container: image bytes in, a JSON list of probabilities out."""

import io
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from local.sagemaker.errors import ContainerError, JobFailedError
from model_src.images import CONTENT_TYPES, decode_image
from model_src.model import Model

# An artifact has the files of the algorithm's; what is in them is the stand-in's own
MODEL_FILE = "image-classification-0000.params"
_SYMBOL = {"nodes": [], "heads": [], "attrs": {"framework": "local stand-in"}}
_SHAPES = [{"shape": [1, 3, 32, 32], "name": "data"}]


def pack_artifact(model: Model) -> bytes:
    """The model as the model.tar.gz that a training job uploads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_FILE
        model.save(path)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.add(path, MODEL_FILE)
            for name, content in (("image-classification-symbol.json", _SYMBOL), ("model-shapes.json", _SHAPES)):
                text = json.dumps(content).encode()
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
        return buffer.getvalue()


class Container:
    """One loaded model artifact, with the contract of /invocations."""

    def __init__(self, artifact: bytes, *, uri: str) -> None:
        try:
            with tarfile.open(fileobj=io.BytesIO(artifact)) as archive, tempfile.TemporaryDirectory() as folder:
                archive.extract(MODEL_FILE, folder, filter="data")
                self._model = Model.load(Path(folder) / MODEL_FILE)
        except (tarfile.TarError, KeyError, ValueError, EOFError, OSError) as error:
            raise JobFailedError(
                f"{uri} was not trained by the local stand-in, which serves nothing else: {error}"
            ) from error

    def invocations(self, body: bytes, content_type: str) -> bytes:
        """Answer one request; raises ContainerError."""
        if content_type not in CONTENT_TYPES:
            raise ContainerError(415, f"content type must be one of {', '.join(CONTENT_TYPES)}, not {content_type!r}")
        try:
            image = decode_image(body)
        except ValueError as error:
            raise ContainerError(400, str(error)) from error
        return json.dumps(self._model.predict(image[np.newaxis])[0].tolist()).encode()
