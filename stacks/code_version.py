"""Which code runs: git's own name for the content of lambda_src, without needing git.

It changes when the functions change and not with every commit, so a template shows it only when there is something to
deploy; and `git rev-parse COMMIT:lambda_src` tells which commits have it.
"""

from functools import cache
from hashlib import sha1

from stacks.config import PROJECT_ROOT

_MODE = b"100644"


@cache
def code_version() -> str:
    """The tree id of lambda_src (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects)."""
    entries = b"".join(
        b"%s %s\0%s" % (_MODE, path.name.encode(), _object_id(b"blob", path.read_bytes()))
        for path in sorted((PROJECT_ROOT / "lambda_src").glob("*.py"))
    )
    return _object_id(b"tree", entries).hex()


def _object_id(kind: bytes, content: bytes) -> bytes:
    return sha1(b"%s %d\0%s" % (kind, len(content), content), usedforsecurity=False).digest()
