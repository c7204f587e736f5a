"""Creates files and folders atomically, even if two processes create the same one."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNK = 1 << 20


@contextmanager
def only_one(target: Path) -> Iterator[None]:
    """Wait until no other process creates `target`. The operating system releases the lock when a process ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.parent / f".{target.name}.lock"
    while True:
        with path.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_open_file(path, lock.fileno()):
                continue  # its holder has removed the file, and another process may have created a new one
            try:
                yield
            finally:
                path.unlink()
            return


def _is_open_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """An empty folder that replaces `target` when the block ends without an exception.

    Call it within `only_one(target)`. Removes what a killed process left behind.
    """
    new, old = (target.parent / f".{target.name}.{state}" for state in ("new", "old"))
    if old.exists() and not target.exists():
        old.rename(target)  # killed between the two renames below
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


@contextmanager
def replaced_file(target: Path) -> Iterator[Path]:
    """A path of a new file that replaces `target` when the block ends without an exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.parent / f".{target.name}.{os.getpid()}.new"
    try:
        yield new
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
