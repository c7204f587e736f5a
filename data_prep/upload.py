"""Copies a data set folder into the environment's bucket, and compares the two."""

import base64
import hashlib
import mimetypes
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from data_prep import aws
from data_prep.dataset import IMAGES, LISTS, MANIFEST, Manifest, default_folder, read_list
from data_prep.errors import DataSetError, UploadError
from data_prep.options import AsJson, DataSet, EnvironmentName, Quiet
from data_prep.progress import Progress, progress_bars, silent
from data_prep.terminal import show
from lambda_src.retraining.lst_file import REVIEWED
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared import prefixes
from stacks.shared.model_code import code_files, code_prefix

_T = TypeVar("_T")

_DATA_SET = (prefixes.TRAIN, prefixes.TEST, prefixes.TRAIN_LST, prefixes.TEST_LST, MANIFEST)
_MAX_KEYS = 1000  # that one DeleteObjects takes


@dataclass(frozen=True)
class Stored:
    """An object of the bucket as a listing shows it; `size` in bytes."""

    size: int
    etag: str


@dataclass(frozen=True)
class Comparison:
    """A data set folder beside the bucket, by object key: what differs or is missing there, and what is too much."""

    files: int
    changed: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return not self.changed and not self.extra


@dataclass(frozen=True)
class Upload:
    """What an upload did."""

    files: int
    uploaded: int
    uploaded_bytes: int
    deleted: int


def upload(
    *,
    env: EnvironmentName = "dev",
    dataset: DataSet = None,
    delete_extra: Annotated[
        bool,
        typer.Option(
            "--delete-extra",
            help="Delete objects of the training channels that no .lst file names, and reviewed pictures.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Upload the changes of the data set to the environment's bucket, and verify that the two are equal.

    If the environment's algorithm takes code, that goes there, too.
    """
    config = load_environment(env)
    bucket = aws.data_stack(config).bucket
    with progress_bars(quiet=quiet) as progress:
        result = upload_dataset(
            dataset or default_folder(env),
            bucket,
            delete_extra=delete_extra,
            delete_reviewed=delete_extra,
            progress=progress,
        )
    upload_code(config, bucket)
    show(
        {"bucket": bucket, **asdict(result)},
        f"s3://{bucket}: {result.uploaded:,} of {result.files:,} files uploaded ({result.uploaded_bytes:,} bytes), "
        f"{result.deleted:,} deleted; it holds exactly the data set",
        as_json=as_json,
    )


def upload_dataset(
    folder: Path,
    bucket: str,
    *,
    delete_extra: bool = False,
    delete_reviewed: bool = False,
    progress: Progress = silent,
) -> Upload:
    """Make the bucket's training channels equal to the folder; sends only what differs.

    Calling this again resumes an interrupted upload. Images go first and the files that name them last, so
    that a `.lst` file never names an image that is not there. Objects are encrypted as the bucket prescribes,
    and S3 checks the SHA-256 of each before it stores it.

    Raises UploadError if the bucket then does not hold exactly what the `.lst` files name. A training job would fetch
    objects that no `.lst` file names, and could read a second `.lst` file. Without `delete_reviewed`, raises it before
    anything is sent if reviewed pictures would be taken out of the data set.
    """
    images, lists = _files(folder)
    stored = _data_set(bucket)
    if not delete_reviewed:
        _check_takes_no_reviewed_pictures(bucket, stored, images)
    etags: dict[str, str] = {}
    sent: list[int] = []
    with _in_parallel(lambda key: _bring(folder, bucket, key, stored.get(key)), images) as results:
        for key, etag, size in results:
            etags[key] = etag
            sent += size
            progress("Upload", len(etags), len(images))
    for key in lists:
        _, etags[key], size = _bring(folder, bucket, key, stored.get(key))
        sent += size

    listed = _data_set(bucket) if sent else stored
    wrong = sorted(key for key, etag in etags.items() if key not in listed or listed[key].etag != etag)
    if wrong:
        raise UploadError(
            f"s3://{bucket}: {len(wrong)} of {len(etags)} objects changed while they were uploaded, "
            f"the first is {wrong[0]}: something else writes there; stop it and upload again"
        )
    extra = sorted(listed.keys() - etags.keys())
    if extra and not delete_extra:
        raise UploadError(
            f"s3://{bucket}: holds {len(extra)} objects that the data set does not have, the first is {extra[0]}: "
            "remove them with `upload --delete-extra` (the bucket keeps deleted versions for 30 days)"
        )
    _delete(bucket, extra)
    return Upload(files=len(etags), uploaded=len(sent), uploaded_bytes=sum(sent), deleted=len(extra))


def _check_takes_no_reviewed_pictures(bucket: str, stored: Iterable[str], images: Iterable[str]) -> None:
    folders = tuple(f"{prefix}{REVIEWED}" for prefix in IMAGES.values())
    reviewed = {key for key in stored if key.startswith(folders)} - set(images)
    if reviewed:
        raise UploadError(
            f"s3://{bucket}: its data set has {len(reviewed):,} reviewed pictures, which this upload would take out, "
            "so nothing was uploaded. `python -m ops retrain` trains on it as it is; `python -m data_prep upload "
            "--delete-extra` replaces it, and `python -m ops review publish` adds the reviewed pictures to the new one"
        )


def upload_code(config: EnvironmentConfig, bucket: str) -> int:
    """Make the bucket hold the very code of `model_src/`, if the environment's algorithm takes any.

    Returns how many files were sent; what is there already is left alone. Raises UploadError if other objects lie
    beside them: a job would be given these as well, code that nobody here has read.
    """
    if not config.algorithm.takes_code:
        return 0
    files = {f"{code_prefix()}{name}": content for name, content in code_files().items()}
    stored = listing(bucket, code_prefix())
    if extra := sorted(stored.keys() - files.keys()):
        raise UploadError(
            f"s3://{bucket}: {len(extra)} objects lie beside the code of model_src/, the first is {extra[0]}: find out "
            f"who wrote them, and remove them (`aws s3 rm s3://{bucket}/{extra[0]}`)"
        )
    sent = [send(bucket, key, content, stored.get(key)) for key, content in files.items()]
    return sum(is_new for _, is_new in sent)


def compare(folder: Path, bucket: str) -> Comparison:
    """Compare by content, without sending any."""
    images, lists = _files(folder)
    stored = _data_set(bucket)

    def is_changed(key: str) -> tuple[str, bool]:
        there = stored.get(key)
        return key, there is None or not _holds(bucket, key, there, _read(folder, key))

    with _in_parallel(is_changed, images + lists) as results:
        changed = sorted(key for key, differs in results if differs)
    extra = sorted(stored.keys() - {*images, *lists})
    return Comparison(len(images) + len(lists), tuple(changed), tuple(extra))


def _files(folder: Path) -> tuple[list[str], list[str]]:
    """The folder's files by key, which is also the path below it: images, and then what names them."""
    Manifest.load(folder)
    images = []
    for split, name in LISTS.items():
        for number, line in read_list(folder / name):
            if isinstance(line, ValueError):
                raise DataSetError(f"{folder / name}:{number}: {line}; `python -m data_prep validate` shows all")
            images.append(IMAGES[split] + line.path)
    return list(dict.fromkeys(images)), [*LISTS.values(), MANIFEST]


def _bring(folder: Path, bucket: str, key: str, there: Stored | None) -> tuple[str, str, list[int]]:
    """Send one file unless the bucket holds it: its key, its object's ETag, and the bytes if any were sent."""
    content = _read(folder, key)
    etag, is_sent = send(bucket, key, content, there)
    return key, etag, [len(content)] if is_sent else []


def send(bucket: str, key: str, content: bytes, there: Stored | None) -> tuple[str, bool]:
    """Put an object unless the bucket holds it: its ETag, and whether it was sent. S3 checks the SHA-256."""
    if there and _holds(bucket, key, there, content):
        return there.etag, False
    response = aws.s3().put_object(
        Bucket=bucket,
        Key=key,
        Body=content,
        ChecksumSHA256=_sha256(content),
        ContentType=mimetypes.guess_type(key)[0] or "text/plain",
    )
    return response["ETag"], True


def _holds(bucket: str, key: str, there: Stored, content: bytes) -> bool:
    """Whether the object has this content. An ETag that is the MD5 answers that without a request.

    In a bucket that encrypts with KMS it is not, and the SHA-256 that came with the upload has to be asked for.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    if there.size != len(content):
        return False
    if there.etag.strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest():
        return True
    head = aws.s3().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    return head.get("ChecksumSHA256") == _sha256(content)


def _sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _read(folder: Path, key: str) -> bytes:
    try:
        return (folder / key).read_bytes()
    except OSError as error:
        raise DataSetError(f"{folder / key}: cannot be read: {error.strerror}; build the data set again") from None


def _data_set(bucket: str) -> dict[str, Stored]:
    """Every object of the training channels, and the manifest."""
    return {
        key: stored
        for prefix in ("train", "test", MANIFEST)  # each of the first two lists two channels at once
        for key, stored in listing(bucket, prefix).items()
        if key.startswith(_DATA_SET) and key != prefixes.READY_MARKER
    }


def listing(bucket: str, prefix: str) -> dict[str, Stored]:
    """Every object whose key starts with `prefix`. What the console shows as empty folders is left out."""
    return {
        item["Key"]: Stored(item["Size"], item["ETag"])
        for page in aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for item in page.get("Contents", [])
        if not item["Key"].endswith("/")
    }


def _delete(bucket: str, keys: list[str]) -> None:
    for start in range(0, len(keys), _MAX_KEYS):
        batch = keys[start : start + _MAX_KEYS]
        response = aws.s3().delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
        )
        for error in response.get("Errors", []):
            raise UploadError(f"s3://{bucket}/{error['Key']}: cannot be deleted: {error['Message']}")


@contextmanager
def _in_parallel(function: Callable[[str], _T], keys: list[str]) -> Iterator[Iterator[_T]]:
    """The results in any order. Leaving the block early waits for the calls under way and begins no other."""
    pool = ThreadPool(aws.MAX_CONNECTIONS)
    try:
        yield pool.imap_unordered(function, keys)
    finally:
        pool.terminate()
        pool.join()
