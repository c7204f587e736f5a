"""The code of the scikit-learn algorithm: what of `model_src/` a training job gets, and where it lies in the bucket.

Its place follows from its content, so that a job of the state machine, which was deployed earlier, runs the code that
it was deployed with.
"""

import hashlib
from collections.abc import Mapping
from functools import cache

from stacks.config import PROJECT_ROOT
from stacks.shared import prefixes

MODEL_SRC = PROJECT_ROOT / "model_src"


@cache
def code_files() -> Mapping[str, bytes]:
    """By their names; the container has them in one folder."""
    return {path.name: path.read_bytes() for path in sorted(MODEL_SRC.glob("*.py"))}


@cache
def code_digest() -> str:
    """Sixteen hexadecimal digits of the names and the content of all files."""
    digest = hashlib.sha256()
    for name, content in code_files().items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def code_prefix() -> str:
    """Where the files lie in the environment's bucket; ends in a slash."""
    return f"{prefixes.CODE}{code_digest()}/"
