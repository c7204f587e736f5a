"""Reads and writes archives in CIFAR-100's format (https://www.cs.toronto.edu/~kriz/cifar.html): a gzipped tar of three
pickles.

An archive is never extracted, so paths, links and devices in it are harmless.
"""

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from data_prep import pickles
from data_prep.errors import ArchiveError
from data_prep.progress import Progress, silent

IMAGE_SIZE = 32
ROW_BYTES = 3 * IMAGE_SIZE * IMAGE_SIZE
SYNTHETIC_MARK = b"synthetic"  # prefix of the batch labels of a synthetic archive
SPLITS = ("train", "test")

_FOLDER = "cifar-100-python"
_MEMBERS = (*SPLITS, "meta")
# CIFAR-100 unpacks to 187 MB
_MAX_UNPACKED_BYTES = 256 << 20
_TOO_MUCH = f"{_MAX_UNPACKED_BYTES >> 20} MiB; CIFAR-100 has 178 MiB"
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Batch:
    """One split: `filenames` and `labels` (fine labels) by row, and the pixels of each row."""

    filenames: list[str]
    labels: NDArray[np.int64]
    rows: NDArray[np.uint8]

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """The image of a row, of shape (32, 32, 3); a row holds the R, the G and then the B plane."""
        return np.ascontiguousarray(self.rows[row].reshape(3, IMAGE_SIZE, IMAGE_SIZE).transpose(1, 2, 0))


@dataclass(frozen=True)
class Archive:
    """The content of an archive, with `class_names` in the order of the fine labels."""

    sha256: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Batch]
    is_synthetic: bool


def read_archive(path: Path, progress: Progress = silent) -> Archive:
    """Read every image of an archive; the pixels of CIFAR-100 take 184 MB of memory.

    Raises ArchiveError unless the archive is complete and in CIFAR-100's format.
    """
    if not path.is_file():
        raise ArchiveError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            return _checked(_read_members(_Unpacked(file, progress)), sha256)
    except ArchiveError as error:
        raise ArchiveError(f"{path}: {error}") from None
    except tarfile.TarError as error:
        raise ArchiveError(f"{path}: no tar archive inside: {error}") from None
    except EOFError:
        raise ArchiveError(f"{path}: it is truncated; fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ArchiveError(f"{path}: it is not a gzip file or is corrupt; fetch it again: {error}") from None


def _read_members(archive: "_Unpacked") -> dict[str, object]:
    """The batches by name.

    Reads only plain tar headers. Extension headers, which give the next member another name or size, are skipped, and
    so is every member that is not CIFAR-100's, such as an editor's backup file.
    """
    members: dict[str, object] = {}
    while any(header := b"".join(archive.chunks(tarfile.BLOCKSIZE))):
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        folder, _, name = info.name.partition("/")
        padding = -info.size % tarfile.BLOCKSIZE
        if folder != _FOLDER or name not in _MEMBERS:
            archive.skip(info.size + padding)
            continue
        if not info.isreg():
            raise ArchiveError(f"member {name} is not a plain file")
        if name in members:
            raise ArchiveError(f"it has two members {name}")
        with TemporaryFile() as content:
            content.writelines(archive.chunks(info.size))
            content.seek(0)
            members[name] = pickles.load(content)
        archive.skip(padding)
    archive.finish()
    return members


class _Unpacked:
    """The content of a gzip file, limited to what CIFAR-100 could have."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file = file
        self._gzip = gzip.GzipFile(fileobj=file)
        self._progress = progress
        self._size = os.fstat(file.fileno()).st_size
        self._left = _MAX_UNPACKED_BYTES

    def chunks(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes; raises ArchiveError if they exceed the limit, and EOFError if there are fewer."""
        if not 0 <= size <= self._left:
            raise ArchiveError(f"a member of {size:,} bytes unpacks to more than {_TOO_MUCH}")
        self._left -= size
        while size:
            chunk = self._gzip.read(min(size, _CHUNK))
            if not chunk:
                raise EOFError
            size -= len(chunk)
            self._progress("Reading the archive", self._file.tell(), self._size)
            yield chunk

    def skip(self, size: int) -> None:
        for _ in self.chunks(size):
            pass

    def finish(self) -> None:
        """Read to the end, where gzip checks the CRC of the content."""
        while chunk := self._gzip.read(min(self._left + 1, _CHUNK)):
            self._left -= len(chunk)
            if self._left < 0:
                raise ArchiveError(f"it unpacks to more than {_TOO_MUCH}")
        self._progress("Reading the archive", self._size, self._size)


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
        data = _field(members, split, b"data")
        if not isinstance(data, pickles.Array) or data.pixels.shape[1] != ROW_BYTES:
            raise ArchiveError(f"the pixels of {split} are not rows of {ROW_BYTES} bytes")
        if not isinstance(labels, list) or not len(filenames) == len(labels) == len(data.pixels):
            raise ArchiveError(f"{split} has {len(data.pixels)} images, but not as many file names and labels")
        if not all(type(label) is int and 0 <= label < len(class_names) for label in labels):
            raise ArchiveError(f"{split} has a label that is not a number from 0 to {len(class_names) - 1}")
        splits[split] = Batch(filenames, np.array(labels, np.int64), data.pixels)
    mark = _field(members, "train", b"batch_label")
    return Archive(sha256, class_names, splits, isinstance(mark, bytes) and mark.startswith(SYNTHETIC_MARK))


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
    """A gzipped tar without timestamps, owners and other traces of this machine."""
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
