import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep import pickles
from data_prep.cifar import read_archive
from data_prep.errors import ArchiveError
from data_prep.fetch import file_sha256
from tests.unit.data_prep.conftest import CLASS_NAMES, archive_of, noise, split_of

TarOf = Callable[..., Path]


def member(name: str, **attributes: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


def parts(**changes: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The members of a good archive, with some contents changed."""
    batch = {b"batch_label": b"x", b"filenames": [b"a", b"b"], b"fine_labels": [0, 1], b"data": noise(2, 1)}
    batch[b"data"] = noise(2, 1).reshape(2, -1)
    contents = {
        "train": pickles.dumps(batch),
        "test": pickles.dumps(batch),
        "meta": pickles.dumps({b"fine_label_names": [b"apple", b"bee"]}),
    } | changes
    return [(member(f"cifar-100-python/{name}"), data) for name, data in contents.items()]


def batch(**changes: object) -> bytes:
    content: dict[bytes, object] = {
        b"filenames": [b"a", b"b"],
        b"fine_labels": [0, 1],
        b"data": noise(2, 1).reshape(2, -1),
    }
    return pickles.dumps(content | {key.encode(): value for key, value in changes.items()})


def test_an_archive_is_read_as_it_was_written(archive: Path, tmp_path: Path) -> None:
    read = read_archive(archive)
    names, labels, pixels = split_of(20, 1)
    train = read.splits["train"]
    assert (read.class_names, read.is_synthetic) == (CLASS_NAMES, False)
    assert (train.filenames, train.labels.tolist()) == (names, labels)
    assert np.array_equal(np.stack([train.pixels(row) for row in range(20)]), pixels)
    assert read.sha256 == file_sha256(archive)


def test_equal_content_makes_an_equal_archive(tmp_path: Path) -> None:
    first, second = (archive_of(tmp_path / name) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.skipif("SCONES_CIFAR_ARCHIVE" not in os.environ, reason="names no real archive")
def test_the_real_archive_is_read(tmp_path: Path) -> None:
    read = read_archive(Path(os.environ["SCONES_CIFAR_ARCHIVE"]))
    assert (read.class_names[8], read.class_names[48], len(read.class_names)) == ("bicycle", "motorcycle", 100)
    train = read.splits["train"]
    assert sum(train.labels == 8) == 500
    # A photograph's neighbouring pixels are alike; planes read in the wrong order would not be
    image = train.pixels(0).astype(int)
    assert abs(np.diff(image, axis=1)).mean() < abs(image - image[::-1, ::-1]).mean()


def test_paths_and_other_members_are_ignored(tar_of: TarOf, tmp_path: Path) -> None:
    outside = [(member(name), b"x") for name in ("../escape", "/escape", "cifar-100-python/../../escape", "train")]
    read_archive(tar_of(*outside, *parts()))
    assert {path.name for path in tmp_path.iterdir()} == {"made.tar.gz"}
    assert not (tmp_path.parent / "escape").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_link_or_device_in_place_of_a_member_is_refused(tar_of: TarOf, tmp_path: Path, kind: bytes) -> None:
    link = (member("cifar-100-python/train", type=kind, linkname="/etc/passwd"), b"")
    with pytest.raises(ArchiveError, match="member train is not a plain file"):
        read_archive(tar_of(link))


def test_a_bomb_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for part, data in parts():
            part.size = len(data)
            file.write(part.tobuf() + data + bytes(-len(data) % 512))
        for _ in range(300):
            file.write(bytes(1 << 20))
    with pytest.raises(ArchiveError, match="unpacks to more than 256 MiB"):
        read_archive(path)


@given(cut=st.floats(0, 0.9999))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_an_archive_cut_anywhere_is_refused_by_name(archive: Path, tmp_path: Path, cut: float) -> None:
    data = archive.read_bytes()
    half = tmp_path / "half.tar.gz"
    half.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(ArchiveError, match=r"half\.tar\.gz: "):
        read_archive(half)


@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_a_flipped_byte_is_noticed(archive: Path, tmp_path: Path, position: float, flip: int) -> None:
    data = bytearray(archive.read_bytes())
    index = 10 + int((len(data) - 10) * position)  # the gzip header's time and flags are not covered by its CRC
    data[index] ^= flip
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(data)
    with pytest.raises(ArchiveError):
        read_archive(broken)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train": batch(filenames=[b"a"])}, "train has 2 images, but not as many"),
        ({"test": batch(fine_labels=[0, 2])}, "test has a label that is not a number from 0 to 1"),
        ({"train": batch(fine_labels=[0, b"x"])}, "train has a label that is not a number"),
        ({"train": batch(data=np.zeros((4, 1536), np.uint8))}, "not rows of 3072 bytes"),
        ({"train": batch(data=[])}, "not rows of 3072 bytes"),
        ({"train": batch(filenames=[1, 2])}, "names in train are not a list of strings"),
        ({"train": pickles.dumps({})}, "member train has no 'filenames'"),
        ({"meta": pickles.dumps([])}, "member meta has no 'fine_label_names'"),
        ({"meta": pickles.dumps({b"fine_label_names": [b"a", b"a"]})}, "not unique"),
        ({"train": b""}, "pickle is truncated"),
    ],
)
def test_a_malformed_batch_is_refused(tar_of: TarOf, tmp_path: Path, changes: dict[str, bytes], reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        read_archive(tar_of(*parts(**changes)))


def test_missing_and_repeated_members_are_refused(tar_of: TarOf, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no member cifar-100-python/meta"):
        read_archive(tar_of(*parts()[:2]))
    with pytest.raises(ArchiveError, match="two members test"):
        read_archive(tar_of(*parts(), *parts()[1:2]))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"absent\.tar\.gz: no such file"):
        read_archive(tmp_path / "absent.tar.gz")
    for name, content, reason in (
        ("text", b"hello", "not a gzip file"),
        ("empty", b"", "truncated"),
        ("half", gzip.compress(bytes(range(256)))[:99], "truncated"),
        ("no tar", gzip.compress(b"hello" * 999), "no tar archive inside"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ArchiveError, match=reason):
            read_archive(tmp_path / name)


def pax(**headers: str) -> bytes:
    """A gzipped tar with a good archive's members, the first behind an extended header."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in parts():
            info.size, info.pax_headers, headers = len(data), headers, {}
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue())


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**40)},
        {"size": "9" * 5000},
        {"path": "/etc/passwd"},
        {"comment": "1" * 100_000},
    ],
)
def test_an_extended_header_is_not_obeyed(tmp_path: Path, headers: dict[str, str]) -> None:
    path = tmp_path / "made.tar.gz"
    path.write_bytes(pax(**headers))
    assert read_archive(path).splits["train"].filenames == ["a", "b"]


@pytest.mark.parametrize("size", [2**62, 300 << 20, -512])
def test_a_member_that_claims_an_impossible_size_is_refused_at_once(tmp_path: Path, size: int) -> None:
    path = tmp_path / "made.tar.gz"
    path.write_bytes(gzip.compress(member("skipped", size=size).tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(ArchiveError, match="unpacks to more than 256 MiB"):
        read_archive(path)
