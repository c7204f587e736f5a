"""Reads the files of data capture, `<prefix><endpoint>/<variant>/YYYY/MM/DD/HH/<name>.jsonl`, from the bucket."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from lambda_src.monitoring.captures import Capture, ParseErrors, read_captures, split_lines

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_HOUR = "%Y/%m/%d/%H"
# SageMaker writes a file some time after its requests, so that requests can be in the folder of the next hour
_LATE = timedelta(hours=1)
_CHUNK_BYTES = 2**18
# Files up to this size are read ahead as a whole; at most _AHEAD of them are in memory
_SMALL_BYTES = 4 * 2**20
_AHEAD = 8
_ATTEMPTS = 3


def read_bucket(
    s3: "S3Client",
    bucket: str,
    prefix: str,
    *,
    classes: tuple[str, ...],
    parse_errors: ParseErrors,
    since: datetime,
    until: datetime,
) -> Iterator[Capture]:
    """Every capture below an endpoint's `prefix` (`data-capture/<endpoint>/`) with since <= time < until, file by file.

    Raises ClientError or BotoCoreError if the bucket cannot be read.
    """
    with ThreadPoolExecutor(_AHEAD) as pool:
        ahead: deque[tuple[str, Future[list[bytes]] | None]] = deque()
        files = capture_files(s3, bucket, prefix, since=since, until=until)
        try:
            while True:
                for key, size in files:
                    future = pool.submit(list, read_chunks(s3, bucket, key)) if size <= _SMALL_BYTES else None
                    ahead.append((key, future))
                    if len(ahead) == _AHEAD:
                        break
                if not ahead:
                    return
                key, future = ahead.popleft()
                chunks = read_chunks(s3, bucket, key) if future is None else iter(future.result())
                yield from read_captures(
                    split_lines(chunks), classes=classes, parse_errors=parse_errors, name=key, since=since, until=until
                )
        finally:  # also when the caller stops early
            pool.shutdown(cancel_futures=True)


def capture_files(
    s3: "S3Client", bucket: str, prefix: str, *, since: datetime, until: datetime
) -> Iterator[tuple[str, int]]:
    """Key and size of the files that can hold captures of the window, in order of time for each variant.

    Lists once per variant, from the window's first hour to the hour after its last.
    """
    paginator = s3.get_paginator("list_objects_v2")
    variants = [
        common["Prefix"]
        for page in paginator.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        for common in page.get("CommonPrefixes", [])
    ]
    for variant in variants:
        end = f"{variant}{until + _LATE:{_HOUR}}0"  # "0" sorts after the "/" that follows the hour
        for page in paginator.paginate(Bucket=bucket, Prefix=variant, StartAfter=f"{variant}{since:{_HOUR}}"):
            for entry in page.get("Contents", []):
                if entry["Key"] > end:
                    break
                if entry["Key"].endswith(".jsonl") and entry["Size"]:  # S3 refuses to read a range of an empty object
                    yield entry["Key"], entry["Size"]
            else:
                continue
            break


def read_chunks(s3: "S3Client", bucket: str, key: str) -> Iterator[bytes]:
    """An object's bytes. After a broken connection, reading resumes where it stopped."""
    position = 0
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            for chunk in s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={position}-")["Body"].iter_chunks(
                _CHUNK_BYTES
            ):
                position += len(chunk)
                yield chunk
            return
        except BotoCoreError:
            if attempt == _ATTEMPTS:
                raise


def parse_time(text: str) -> datetime:
    """Parse ISO 8601 and convert it to UTC; a time without a zone is taken as UTC."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
