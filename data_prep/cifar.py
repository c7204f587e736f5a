"""A CIFAR-100 archive (https://www.cs.toronto.edu/~kriz/cifar.html): a gzipped tar of three pickles.

It is read as one stream and never extracted, so that no path, link or device in it matters.
"""

import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from data_prep import pickles
from data_prep.errors import ArchiveError
from data_prep.progress import Progress, silent

IMAGE_SIZE = 32
ROW_BYTES = 3 * IMAGE_SIZE * IMAGE_SIZE
DRAWN_MARK = b"drawn sample"  # how the batch labels of the drawn archive start
SPLITS = ("train", "test")

_FOLDER = "cifar-100-python"
_MEMBERS = (*SPLITS, "meta")
# CIFAR-100 unpacks to 187 MB
_MAX_UNPACKED_BYTES = 256 << 20
_CHUNK = 1 << 16
_BAD_GZIP = cast(type[Exception], isal_zlib.error)  # its stub lacks the type


@dataclass(frozen=True)
class Batch:
    """One split: `filenames` and `labels` (fine labels) by row, and the pixels of each row."""

    filenames: list[str]
    labels: NDArray[np.int64]
    rows: pickles.Rows

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """The image of a row, of shape (32, 32, 3); a row holds the R, the G and then the B plane."""
        return np.ascontiguousarray(self.rows[row].reshape(3, IMAGE_SIZE, IMAGE_SIZE).transpose(1, 2, 0))


@dataclass(frozen=True)
class Archive:
    """What an archive holds, with `class_names` in the order of the fine labels."""

    sha256: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Batch]
    is_drawn: bool


def read_archive(path: Path, spool: BinaryIO, progress: Progress = silent) -> Archive:
    """Read every image of an archive. Pixels go to the file `spool` (184 MB for CIFAR-100), to be kept open meanwhile.

    Raises ArchiveError unless it is whole and in CIFAR-100's format.
    """
    if not path.is_file():
        raise ArchiveError(f"{path}: no such file")
    members: dict[str, object] = {}
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            raise ArchiveError(f"{path}: it is not a gzip file; fetch it again")
        file.seek(0)
        stream = _GunzipStream(file, path.stat().st_size, progress)
        try:
            for name, content in _members(stream):
                if name in members:
                    raise ArchiveError(f"it has two members {name}")
                members[name] = pickles.load(content, spool)
            sha256 = stream.finish()
            return _checked(members, sha256)
        except tarfile.TarError as error:
            raise ArchiveError(f"{path}: no tar archive inside: {error}") from None
        except ArchiveError as error:
            raise ArchiveError(f"{path}: {error}") from None


def _members(stream: "_GunzipStream") -> Iterator[tuple[str, BinaryIO]]:
    with tarfile.open(fileobj=io.BufferedReader(stream, 1 << 20), mode="r|") as tar:
        for member in tar:
            folder, _, name = member.name.partition("/")
            if folder != _FOLDER or name not in _MEMBERS:
                continue  # CIFAR-100 has an editor's backup file, too
            # A sparse file's holes would be made here, not in the bounded stream
            if not member.isreg() or member.issparse():
                raise ArchiveError(f"member {name} is a link or something else than a plain file")
            yield name, cast(BinaryIO, tar.extractfile(member))


class _GunzipStream(io.RawIOBase):
    """Unpacks a gzip file: bounded, and hashing what it reads, so that the digest is that of the very bytes used.

    Unpacking is most of the time of reading an archive, and ISA-L does it faster than zlib.
    """

    def __init__(self, file: BinaryIO, size: int, progress: Progress) -> None:
        self._file = file
        self._size = size
        self._progress = progress
        self._inflater = isal_zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._sha256 = hashlib.sha256()
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = b""
        while not data and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._read_packed()
            if not packed:
                raise ArchiveError("it is truncated; fetch it again")
            try:
                data = self._inflater.decompress(packed, len(buffer))
            except _BAD_GZIP as error:
                raise ArchiveError(f"it is not a gzip file or is corrupt: {error}") from None
        self._unpacked += len(data)
        if self._unpacked > _MAX_UNPACKED_BYTES:
            raise ArchiveError(f"it unpacks to more than {_MAX_UNPACKED_BYTES >> 20} MiB; CIFAR-100 has 178 MiB")
        buffer[: len(data)] = data
        return len(data)

    def _read_packed(self) -> bytes:
        packed = self._file.read(_CHUNK)
        self._sha256.update(packed)
        self._progress("Reading the archive", self._file.tell(), self._size)
        return packed

    def finish(self) -> str:
        """Read on to the end, which checks the CRC of everything unpacked, and give the file's sha256."""
        scrap = memoryview(bytearray(1 << 20))
        while self.readinto(scrap):
            pass
        while self._read_packed():
            pass
        return self._sha256.hexdigest()


def _checked(members: Mapping[str, object], sha256: str) -> Archive:
    if missing := [name for name in _MEMBERS if name not in members]:
        raise ArchiveError(f"it has no member {' and no '.join(f'{_FOLDER}/{name}' for name in missing)}")
    class_names = tuple(_strings(_field(members, "meta", b"fine_label_names"), "meta"))
    if not class_names or len(set(class_names)) != len(class_names):
        raise ArchiveError("the class names in its meta are not unique")
    splits = {}
    for split in SPLITS:
        filenames = _strings(_field(members, split, b"filenames"), split)
        labels = _field(members, split, b"fine_labels")
        rows = _field(members, split, b"data")
        if not isinstance(rows, pickles.Rows) or rows.width != ROW_BYTES:
            raise ArchiveError(f"the pixels of {split} are not rows of {ROW_BYTES} bytes")
        if not isinstance(labels, list) or not len(filenames) == len(labels) == rows.count:
            raise ArchiveError(f"{split} has {rows.count} images, but not as many file names and labels")
        if not all(type(label) is int and 0 <= label < len(class_names) for label in labels):
            raise ArchiveError(f"{split} has a label that is no number from 0 to {len(class_names) - 1}")
        splits[split] = Batch(filenames, np.array(labels, np.int64), rows)
    mark = _field(members, "train", b"batch_label")
    return Archive(sha256, class_names, splits, isinstance(mark, bytes) and mark.startswith(DRAWN_MARK))


def _field(members: Mapping[str, object], member: str, key: bytes) -> object:
    content = members[member]
    if not isinstance(content, dict) or key not in content:
        raise ArchiveError(f"its member {member} has no {key.decode()!r}")
    return content[key]


def _strings(value: object, member: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, bytes) for item in value):
        raise ArchiveError(f"the names in {member} are not a list of strings")
    return [item.decode("utf-8", "replace") for item in value]


@contextmanager
def _deterministic_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """A gzipped tar without times, owners and names of this machine."""
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        yield tar
    path.write_bytes(packer.compress(buffer.getbuffer()) + packer.flush())


def write_archive(
    path: Path,
    *,
    class_names: tuple[str, ...],
    splits: Mapping[str, tuple[list[str], list[int], NDArray[np.uint8]]],
    batch_label: bytes = b"batch",
) -> None:
    """Write an archive in CIFAR-100's format: equal content gives equal bytes.

    Each split is (file names, labels, pixels of shape (n, 32, 32, 3)).
    """
    with _deterministic_tar(path) as tar:
        for split, (filenames, labels, pixels) in splits.items():
            batch = {
                b"filenames": [name.encode() for name in filenames],
                b"batch_label": batch_label,
                b"fine_labels": labels,
                b"data": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).reshape(len(pixels), -1),
            }
            _add(tar, split, batch)
        _add(tar, "meta", {b"fine_label_names": [name.encode() for name in class_names]})


def _add(tar: tarfile.TarFile, name: str, content: object) -> None:
    data = pickles.dumps(content)
    member = tarfile.TarInfo(f"{_FOLDER}/{name}")
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
