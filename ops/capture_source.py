"""Captures from an environment's bucket or from a folder that was copied from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lambda_src.capture_store import read_bucket
from lambda_src.captures import Capture, Damage, read_captures, split_lines
from ops import aws
from ops.errors import OpsError
from ops.window import Window
from stacks import prefixes
from stacks.config import EnvironmentConfig

_CHUNK_BYTES = 2**18


def captures_of(config: EnvironmentConfig, window: Window, damage: Damage, folder: Path | None) -> Iterator[Capture]:
    """Every capture of the window; raises OpsError if there is no such folder or environment."""
    if folder is not None:
        return read_folder(folder, classes=config.classes, window=window, damage=damage)
    return read_bucket(
        aws.s3(),
        aws.bucket(config),
        f"{prefixes.DATA_CAPTURE}{config.endpoint_name}/",
        classes=config.classes,
        damage=damage,
        since=window.since,
        until=window.until,
    )


def read_folder(folder: Path, *, classes: tuple[str, ...], window: Window, damage: Damage) -> Iterator[Capture]:
    """Every capture of the window in the .jsonl files below a folder, in order of their paths."""
    if not folder.is_dir():
        raise OpsError(f"{folder}: no such folder; copy one with `aws s3 sync s3://BUCKET/{prefixes.DATA_CAPTURE} ...`")
    for path in sorted(folder.rglob("*.jsonl")):
        with path.open("rb") as file:
            yield from read_captures(
                split_lines(_chunks(file)),
                classes=classes,
                damage=damage,
                name=str(path.relative_to(folder)),
                since=window.since,
                until=window.until,
            )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
