"""Writes a data set folder atomically: checked PNG images, `.lst` files and a manifest."""

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.cifar import IMAGE_SIZE
from data_prep.dataset import (
    FORMAT_VERSION,
    IMAGES,
    LISTS,
    MANIFEST,
    REJECTED,
    ArchiveInfo,
    Manifest,
    Rejection,
    Split,
    write_list,
)
from data_prep.errors import DataSetError
from data_prep.files import only_one, replaced_folder
from data_prep.images import PNG_COMPRESS_LEVEL, BadImageError, decode, encode_png, fingerprint
from lambda_src.retraining.data_set_rules import SeenImages
from lambda_src.retraining.lst_file import DataDigest, ListLine

MAX_REJECTED_SHARE = 0.01
_LONGEST_STEM = 100
_WRITERS = 4


@dataclass(frozen=True)
class SourceImage:
    """An image to write: pixels of shape (32, 32, 3), or without pixels the problem and the original bytes."""

    name: str
    label: int
    pixels: NDArray[np.uint8] | None
    problem: str = ""
    data: bytes = b""


@contextmanager
def written_dataset(output: Path, *, classes: tuple[str, ...], max_rejected_share: float) -> Iterator["DataSetWriter"]:
    """A writer whose data set replaces the folder `output` when the block ends without an exception.

    Raises DataSetError if `output` exists and is not a data set.
    """
    if output.exists() and not (output / MANIFEST).is_file() and not _is_empty_folder(output):
        raise DataSetError(f"{output}: exists and is not a data set; remove it or choose another --output")
    with (
        only_one(output),
        replaced_folder(output) as folder,
        # Creating a file takes as long as encoding and checking an image, so the two run concurrently
        ThreadPoolExecutor(_WRITERS) as writers,
    ):
        yield DataSetWriter(folder, classes=classes, max_rejected_share=max_rejected_share, writers=writers)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


class DataSetWriter:
    """Writes the splits one after the other. An image in both splits stays in the first."""

    def __init__(
        self, folder: Path, *, classes: tuple[str, ...], max_rejected_share: float, writers: ThreadPoolExecutor
    ) -> None:
        self.folder = folder
        self.classes = classes
        self.seen = SeenImages()
        self.digest = DataDigest()
        self.writers = writers
        self._max_rejected_share = max_rejected_share
        self._splits: dict[str, Split] = {}

    @contextmanager
    def split(self, name: str) -> Iterator["_SplitWriter"]:
        """Takes the images of a split; raises DataSetError if too many of them are bad."""
        writer = _SplitWriter(self, name)
        yield writer
        self._splits[name] = writer.finish(self._max_rejected_share)

    def finish(self, source: ArchiveInfo) -> Manifest:
        """Write the manifest."""
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            classes=self.classes,
            archive=source,
            splits=self._splits,
            data_digest=self.digest.hexdigest(),
            parameters={
                "image_size": IMAGE_SIZE,
                "png_compress_level": PNG_COMPRESS_LEVEL,
                "max_rejected_share": self._max_rejected_share,
            },
        )
        manifest.save(self.folder)
        return manifest


class _SplitWriter:
    """Writes the images of one split."""

    def __init__(self, dataset: DataSetWriter, split: str) -> None:
        self._dataset = dataset
        self._split = split
        self._writes: list[Future[int]] = []
        self._images = dataset.folder / IMAGES[split]
        self._images.mkdir()
        self._names = _UniqueNames()
        self._lines: list[ListLine] = []
        self._rejected: list[Rejection] = []

    def add(self, images: list[SourceImage]) -> None:
        """Check some images, and write or reject them, in their order."""
        files = [self._take(image) for image in images]
        self._wait()
        self._writes = [self._dataset.writers.submit(path.write_bytes, data) for path, data in files]

    def _wait(self) -> None:
        for write in self._writes:
            write.result()

    def _take(self, image: SourceImage) -> tuple[Path, bytes]:
        """Check one image before and after encoding it; where it goes, and its PNG."""
        name, data = self._names.take(image.name), image.data
        try:
            if image.pixels is None:
                raise BadImageError(image.problem)
            data = encode_png(image.pixels)
            if repetition := self._dataset.seen.repetition(fingerprint(image.pixels), f"{self._split}/{name}"):
                raise BadImageError(repetition)
            if not np.array_equal(decode(data, size=IMAGE_SIZE), image.pixels):
                raise BadImageError("the encoded image has other pixels")
        except BadImageError as error:
            file = self._dataset.folder / REJECTED / self._split / name
            file.parent.mkdir(parents=True, exist_ok=True)
            self._rejected.append(Rejection(f"{self._split}/{name}", self._dataset.classes[image.label], str(error)))
            return file, data
        line = ListLine(len(self._lines), image.label, name)
        self._lines.append(line)
        self._dataset.digest.add(self._split, line, sha256(data).hexdigest())
        return self._images / name, data

    def finish(self, max_rejected_share: float) -> Split:
        """Write the `.lst` file; raises DataSetError if too many images were rejected."""
        self._wait()
        rejected, total = len(self._rejected), len(self._lines) + len(self._rejected)
        if rejected > max_rejected_share * total:
            first = self._rejected[0]
            raise DataSetError(
                f"{rejected} of {total} {self._split} images are bad ({rejected / total:.1%}, allowed are "
                f"{max_rejected_share:.1%}), the first is {first.file}: {first.reason}; "
                "use another source or allow more with --max-rejected-share"
            )
        write_list(self._dataset.folder / LISTS[self._split], self._lines)
        by_label = Counter(line.label for line in self._lines)
        counts = {name: by_label[label] for label, name in enumerate(self._dataset.classes)}
        return Split(counts, len(self._lines), tuple(self._rejected))


class _UniqueNames:
    """File names that are valid on every system and in S3 keys, and unique even on case-insensitive systems."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._copies: Counter[str] = Counter()  # so that many equal names do not count up from 2 each time

    def take(self, original: str) -> str:
        """`original` if it is safe and free, else the nearest name that is."""
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", original.removesuffix(".png"))
        stem = stem.lstrip(".")[:_LONGEST_STEM] or "image"
        name = f"{stem}.png"
        while name.lower() in self._taken:
            self._copies[stem.lower()] += 1
            name = f"{stem}-{self._copies[stem.lower()] + 1}.png"
        self._taken.add(name.lower())
        return name
