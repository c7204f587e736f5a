"""Reads captures from an environment's bucket, or from a file or folder that was copied from there.

If the environment's endpoint captures nothing, it reads the workflow's own record: predictions without images.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import typer

from data_prep.terminal import visible
from lambda_src.monitoring.capture_store import read_bucket
from lambda_src.monitoring.captures import Capture, ParseErrors, read_captures, split_lines
from lambda_src.monitoring.prediction_log import read_log
from ops import aws
from ops.capture_origin import Origins
from ops.errors import OpsError
from ops.window import Window
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes

_CHUNK_BYTES = 2**18


@dataclass
class Outside:
    """The captures of a folder that are outside the window."""

    count: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def add(self, time: datetime) -> None:
        self.count += 1
        self.first = min(self.first or time, time)
        self.last = max(self.last or time, time)


@dataclass
class CaptureSource:
    """Iterates once over every capture of the window, and counts what it skips.

    Iterating raises OpsError if there is no such file, folder or environment.
    """

    config: EnvironmentConfig
    window: Window
    folder: Path | None = None
    parse_errors: ParseErrors = field(default_factory=ParseErrors)
    outside: Outside = field(default_factory=Outside)

    @cached_property
    def origins(self) -> Origins:
        """Images and models of the captures. The environment may have none for captures in a folder."""
        return Origins() if self.folder is not None else Origins.of_environment(self.config)

    @property
    def name(self) -> str:
        return self.config.endpoint_name if self.folder is None else str(self.folder)

    def __iter__(self) -> Iterator[Capture]:
        if self.folder is not None:
            return self._in_window(read_files(self.folder, classes=self.config.classes, parse_errors=self.parse_errors))
        if not self.config.endpoint.captures:
            return read_log(
                aws.logs(),
                aws.output(self.config, "Workflow", "PredictionLog"),
                classes=self.config.classes,
                parse_errors=self.parse_errors,
                since=self.window.since,
                until=self.window.until,
            )
        return read_bucket(
            aws.s3(),
            aws.bucket(self.config),
            f"{prefixes.DATA_CAPTURE}{self.config.endpoint_name}/",
            classes=self.config.classes,
            parse_errors=self.parse_errors,
            since=self.window.since,
            until=self.window.until,
        )

    def _in_window(self, captures: Iterator[Capture]) -> Iterator[Capture]:
        for capture in captures:
            if self.window.since <= capture.time < self.window.until:
                yield capture
            else:
                self.outside.add(capture.time)

    def report_skipped(self) -> None:
        """Print on stderr what was skipped: malformed lines, and captures outside the window."""
        if self.parse_errors.count:
            typer.echo(f"Warning: {self.parse_errors.count:,} malformed lines were skipped, such as", err=True)
            for example in self.parse_errors.examples:
                typer.echo(f"  {visible(example)}", err=True)
        if self.outside.count:
            span = f"{self.outside.first:%Y-%m-%d %H:%M:%S} to {self.outside.last:%Y-%m-%d %H:%M:%S} UTC"
            typer.echo(f"Outside the window: {self.outside.count:,} captures from {span}", err=True)


def read_files(path: Path, *, classes: tuple[str, ...], parse_errors: ParseErrors) -> Iterator[Capture]:
    """Every capture of a file, or of the .jsonl files below a folder in order of their paths."""
    if not path.exists():
        raise OpsError(
            f"{path}: no such file or folder; copy one with `aws s3 sync s3://BUCKET/{prefixes.DATA_CAPTURE} ...`"
        )
    files = [path] if path.is_file() else sorted(path.rglob("*.jsonl"))
    if not files:
        raise OpsError(f"{path}: there is no .jsonl file below it, as data capture writes them")
    for file in files:
        with file.open("rb") as content:
            yield from read_captures(
                split_lines(_chunks(content)),
                classes=classes,
                parse_errors=parse_errors,
                name=str(file.relative_to(path)) if file != path else file.name,
            )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
