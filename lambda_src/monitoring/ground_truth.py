"""Reads the true classes of images, which become known after the prediction, and joins them with the captures.

They are in any number of `.jsonl` files below `ground-truth/`, one object per line, in either form:

    {"groundTruthData": {"data": "motorcycle", "encoding": "CSV"}, "eventMetadata": {"eventId": "..."}, ...}
    {"s3_bucket": "...", "s3_key": "incoming/bike.png", "s3_version_id": "...", "label": "motorcycle"}

The first is SageMaker's (https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html), where
eventId is the inference id of a request or the event id of its capture. The second names the image instead. A label is
the name of a class or its index in label order. The label null means that the image shows none of the classes; such a
line is ignored. A later line about the same request or image replaces an earlier one.
"""

import json
import re
import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from lambda_src.monitoring.capture_store import read_chunks
from lambda_src.monitoring.captures import Capture, ParseErrors, split_lines
from lambda_src.shared.errors import InvalidInputError
from lambda_src.shared.item import ImageRef
from lambda_src.shared.json_reader import parse_json

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "ground-truth/"
REVIEWS = f"{PREFIX}reviews/"  # one file for each reviewed image: ops/review/records.py
_DATED = re.compile(r"/(\d{4}/\d{2}/\d{2})/")
_BATCH = 10_000


class Label(NamedTuple):
    """The true class, by its index, of one request or of one image."""

    label: int
    request: str | None  # inference id or event id
    image: ImageRef | None  # its version may be missing


class GroundTruth:
    """True classes by request, in a temporary database, so that their number is not limited by memory."""

    def __init__(self) -> None:
        # A database without a name is in SQLite's cache of 2 MB; what exceeds it goes to a temporary file
        self._database = sqlite3.connect("", isolation_level=None)
        weakref.finalize(self, self._database.close)  # Python 3.13 and later warn about a connection left open
        self._database.execute("CREATE TABLE truth (request TEXT PRIMARY KEY, label INTEGER) WITHOUT ROWID")
        self.size = 0

    def add(self, labels: Iterable[Label]) -> None:
        """Store the labels of requests, and of images whose version is known."""
        rows: list[tuple[str, int]] = []
        for label in labels:
            if label.request:
                rows.append((label.request, label.label))
            elif label.image and label.image.version_id:
                rows.append((label.image.inference_id, label.label))
            if len(rows) == _BATCH:
                self._store(rows)
        self._store(rows)

    def label_of(self, capture: Capture) -> int | None:
        """The true class's index, if it is known."""
        if not self.size:
            return None
        for request in (capture.inference_id, capture.event_id):
            found = self._database.execute("SELECT label FROM truth WHERE request = ?", (request,)).fetchone()
            if found:
                return int(found[0])
        return None

    def close(self) -> None:
        self._database.close()

    def _store(self, rows: list[tuple[str, int]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR REPLACE INTO truth VALUES (?, ?)", rows)
        self._database.execute("COMMIT")
        (self.size,) = self._database.execute("SELECT count(*) FROM truth").fetchone()
        rows.clear()


def read_bucket_labels(
    s3: "S3Client", bucket: str, *, classes: tuple[str, ...], parse_errors: ParseErrors, since: datetime
) -> Iterator[Label]:
    """The labels in every file, except in folders `.../YYYY/MM/DD/...` and in reviews of a day before `since`.

    A label is never older than its request, so these files cannot have labels for requests after `since`. Raises
    ClientError or BotoCoreError.
    """
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX):
        for entry in page.get("Contents", []):
            key = entry["Key"]
            dated = _DATED.search(key)
            day = f"{entry['LastModified']:%Y/%m/%d}" if key.startswith(REVIEWS) else dated and dated[1]
            if not key.endswith(".jsonl") or not entry["Size"] or (day and day < f"{since:%Y/%m/%d}"):
                continue
            yield from read_labels(
                split_lines(read_chunks(s3, bucket, key)),
                classes=classes,
                bucket=bucket,
                parse_errors=parse_errors,
                name=key,
            )


def read_labels(
    lines: Iterable[bytes], *, classes: tuple[str, ...], bucket: str, parse_errors: ParseErrors, name: str
) -> Iterator[Label]:
    """Parse the labels of the file `name`. Malformed lines are counted in `parse_errors` and skipped."""
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        try:
            label = parse_label(line, classes, bucket)
        except (ValueError, InvalidInputError) as error:
            parse_errors.add(f"{name}, line {number}", error)
        else:
            if label:
                yield label


def parse_label(line: bytes, classes: tuple[str, ...], bucket: str) -> Label | None:
    """Parse one line; None if its label is null. An image without `s3_bucket` is in `bucket`.

    Raises ValueError or InvalidInputError.
    """
    try:
        record: dict[str, Any] = parse_json(line)
        if "groundTruthData" in record:
            request = record["eventMetadata"]["eventId"]
            if not isinstance(request, str) or not request:
                raise ValueError(f"eventId must be a non-empty string, not {request!r}")
            return Label(_index(record["groundTruthData"]["data"], classes), request, None)
        image = ImageRef.of({"s3_bucket": bucket, **record})
        return Label(_index(record["label"], classes), None, image) if record["label"] is not None else None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a label: {error!r}") from None


def label_line(image: ImageRef, label: str) -> str:
    """The line that records `label` as the true class of `image`."""
    return json.dumps(
        {"s3_bucket": image.bucket, "s3_key": image.key, "s3_version_id": image.version_id, "label": label}
    )


def _index(label: object, classes: tuple[str, ...]) -> int:
    text = str(label).strip()
    if text in classes:
        return classes.index(text)
    if re.fullmatch(r"\d{1,3}(\.0)?", text) and int(float(text)) < len(classes):
        return int(float(text))
    raise ValueError(f"label is {text[:40]!r}, not one of {', '.join(classes)}")
