import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from data_prep import aws, upload
from data_prep.dataset import LISTS, write_list
from data_prep.errors import DataSetError, UploadError
from data_prep.upload import compare, send, upload_dataset
from lambda_src.retraining.lst_file import ListLine
from tests.unit.data_prep.conftest import write_dataset
from tests.unit.stored import place

FILES = 83  # 60 + 20 images, two lists and the manifest


def _numbered(file: Path, number: int) -> None:
    file.write_text(f"image {number:06}")


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """More files than a page of a listing has."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "25")
    return write_dataset(tmp_path / "many", 60, 20, _numbered)


@pytest.fixture
def requests(cloud: str) -> Iterator[list[str]]:
    """The operations that are asked of S3."""
    seen: list[str] = []

    def note(model: "object", **_: object) -> None:
        seen.append(getattr(model, "name"))  # noqa: B009 - botocore ships no type for it

    aws.s3().meta.events.register("before-call.s3", note)
    yield seen
    aws.s3().meta.events.unregister("before-call.s3", note)


def _keys(bucket: str) -> set[str]:
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {item["Key"] for page in pages for item in page.get("Contents", [])}


def test_an_interrupted_upload_is_taken_up_where_it_stopped(
    many: Path, cloud: str, requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free, stopped = threading.Semaphore(20), threading.Event()

    class Pool(ThreadPool):
        def terminate(self) -> None:
            super().terminate()
            stopped.set()

    def hold(*request: Any) -> tuple[str, bool]:
        """All but the first 20 are under way until the interruption has stopped the pool."""
        _ = free.acquire(blocking=False) or stopped.wait(30)
        return send(*request)

    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(upload, "ThreadPool", Pool)
    monkeypatch.setattr(upload, "send", hold)
    with pytest.raises(KeyboardInterrupt):
        upload_dataset(many, cloud, progress=interrupt)
    there = _keys(cloud)
    assert 20 <= len(there) <= 20 + aws.MAX_CONNECTIONS
    assert not there & set(LISTS.values()), "a list must not name images that are not there"

    requests.clear()
    result = upload_dataset(many, cloud)
    assert (result.files, result.uploaded, result.deleted) == (FILES, FILES - len(there), 0)
    assert requests.count("PutObject") == result.uploaded
    assert _keys(cloud) == {str(file.relative_to(many)) for file in many.rglob("*") if file.is_file()}


def test_a_second_upload_sends_nothing(folder: Path, cloud: str, requests: list[str]) -> None:
    upload_dataset(folder, cloud)
    assert compare(folder, cloud).is_equal
    requests.clear()
    result = upload_dataset(folder, cloud)
    assert (result.files, result.uploaded, result.uploaded_bytes) == (43, 0, 0)
    assert requests == ["ListObjectsV2"] * 3, "one listing of all channels shows that nothing differs"


def test_only_what_changed_is_sent(folder: Path, cloud: str) -> None:
    upload_dataset(folder, cloud)
    image = folder / "train/train_0007.png"
    content = bytearray(image.read_bytes())
    content[-1] ^= 1  # as long as before
    image.write_bytes(content)
    assert compare(folder, cloud).changed == ("train/train_0007.png",)
    result = upload_dataset(folder, cloud)
    assert (result.uploaded, result.uploaded_bytes) == (1, len(content))
    assert aws.s3().get_object(Bucket=cloud, Key="train/train_0007.png")["Body"].read() == content


def test_objects_that_no_list_names_are_reported_and_only_deleted_on_request(
    folder: Path, cloud: str, requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_MAX_KEYS", 5)
    for number in range(11):
        place(cloud, f"train/old_{number:04}.png", b"")
    place(cloud, "train_lst/other.lst", b"")
    place(cloud, "train/", b"")  # the console's idea of a folder
    others = {"models/a/output/model.tar.gz", "tests/notes.txt", "training.txt"}
    for key in others:
        place(cloud, key, b"")
    with pytest.raises(UploadError, match=r"holds 12 objects .* first is train/old_0000\.png.*--delete-extra"):
        upload_dataset(folder, cloud)
    assert len(compare(folder, cloud).extra) == 12
    result = upload_dataset(folder, cloud, delete_extra=True)
    assert (result.uploaded, result.deleted) == (0, 12)
    assert requests.count("DeleteObjects") == 3
    assert compare(folder, cloud).is_equal
    assert {"train/"} | others <= _keys(cloud)


def test_an_object_that_is_overwritten_meanwhile_is_noticed(folder: Path, cloud: str) -> None:
    def meddle(stage: str, done: int, total: int) -> None:
        if done == total:
            aws.s3().put_object(Bucket=cloud, Key="test/test_0001.png", Body=b"another")

    with pytest.raises(UploadError, match=r"1 of 43 objects changed .* first is test/test_0001\.png"):
        upload_dataset(folder, cloud, progress=meddle)


def test_names_of_any_language_arrive(folder: Path, cloud: str) -> None:
    names = ["vélo 1.png", "自転車/мото+&=%20.png"]
    (folder / "train/自転車").mkdir()
    for name in names:
        (folder / "train" / name).write_text(name)
    write_list(folder / LISTS["train"], [ListLine(index, index, name) for index, name in enumerate(names)])
    upload_dataset(folder, cloud)
    assert {f"train/{name}" for name in names} <= _keys(cloud)
    assert compare(folder, cloud).is_equal


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "train/train_0003.png").unlink(), r"train_0003\.png: cannot be read: No such file"),
        (lambda folder: (folder / "test_lst/test.lst").unlink(), r"test\.lst: cannot be read"),
        (lambda folder: (folder / "manifest.json").unlink(), r"manifest\.json: cannot be read"),
        (
            lambda folder: (folder / "train_lst/train.lst").write_text("0\t0\t../../etc/passwd\n"),
            r"train\.lst:1: path '../../etc/passwd' is not below",
        ),
    ],
)
def test_a_broken_folder_is_named(folder: Path, cloud: str, spoil: Callable[[Path], object], message: str) -> None:
    spoil(folder)
    with pytest.raises(DataSetError, match=message):
        upload_dataset(folder, cloud)
    assert not _keys(cloud) & set(LISTS.values())


@pytest.mark.parametrize(("checksum", "uploaded"), [("same", 0), ("other", 1), ("none", 1)])
def test_with_kms_the_checksum_decides_because_the_etag_is_not_an_md5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checksum: str, uploaded: int
) -> None:
    folder = write_dataset(tmp_path / "one", 1, 0, _numbered)
    keys = ["train/train_0000.png", "train_lst/train.lst", "test_lst/test.lst", "manifest.json"]
    contents = {key: (folder / key).read_bytes() for key in keys}
    sha256 = {key: base64.b64encode(hashlib.sha256(content).digest()).decode() for key, content in contents.items()}
    listed = {key: {"Key": key, "Size": len(content), "ETag": f'"of {key}"'} for key, content in contents.items()}
    client = boto3.Session("unit", "test", region_name="us-east-1").client("s3")
    monkeypatch.setattr(aws, "s3", lambda: client)

    def add_listing(stubber: Stubber) -> None:
        for prefix in ("train", "test", "manifest.json"):
            found = [item for key, item in listed.items() if key.startswith(prefix)]
            stubber.add_response("list_objects_v2", {"Contents": found}, {"Bucket": "b", "Prefix": prefix})

    with Stubber(client) as stubber:
        add_listing(stubber)
        for key in keys:
            answer = {"ChecksumSHA256": sha256[key]}
            if key == keys[0] and checksum != "same":
                answer = {"ChecksumSHA256": "b3RoZXI="} if checksum == "other" else {}
            stubber.add_response("head_object", answer, {"Bucket": "b", "Key": key, "ChecksumMode": "ENABLED"})
            if key == keys[0] and checksum != "same":
                listed[key]["ETag"] = '"new"'
                # No header of its own asks for encryption: it is as the bucket has it
                expected = {"Bucket": "b", "Key": key, "Body": contents[key], "ContentType": "image/png"}
                stubber.add_response("put_object", {"ETag": '"new"'}, {**expected, "ChecksumSHA256": sha256[key]})
        if uploaded:
            add_listing(stubber)
        assert upload_dataset(folder, "b").uploaded == uploaded
        stubber.assert_no_pending_responses()
