"""The code of the scikit-learn algorithm: the files of `model_src/` that a training job gets, and their prefix.

The prefix is derived from the content, so that a deployed state machine keeps training with the code that it was
deployed with.
"""

import hashlib
from collections.abc import Mapping
from functools import cache

from stacks.config import PROJECT_ROOT
from stacks.shared import prefixes

MODEL_SRC = PROJECT_ROOT / "model_src"


@cache
def code_files() -> Mapping[str, bytes]:
    """The content of each file by its name; the container has them all in one folder."""
    return {path.name: path.read_bytes() for path in sorted(MODEL_SRC.glob("*.py"))}


@cache
def code_digest() -> str:
    """Sixteen hexadecimal digits that identify the names and the content of all files."""
    digest = hashlib.sha256()
    for name, content in code_files().items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def code_prefix() -> str:
    """The prefix of the files in the environment's bucket; ends with a slash."""
    return f"{prefixes.CODE}{code_digest()}/"
