"""From a CIFAR-100 archive to a data set folder of checked PNG images of some of its classes."""

import re
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.cifar import IMAGE_SIZE, SPLITS, Archive, read_archive
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
from data_prep.fetch import CIFAR_100
from data_prep.files import only_one, replaced_folder
from data_prep.images import PNG_COMPRESS_LEVEL, BadImageError, PixelChecks, decode, encode_png
from data_prep.progress import Progress, silent
from lambda_src.lst_file import DataDigest, ListLine

MAX_REJECTED_SHARE = 0.01
_LONGEST_STEM = 100
_IMAGES_AT_A_TIME = 256  # bounds what waits in memory
_WRITERS = 4


def build_dataset(
    archive: Path,
    output: Path,
    *,
    classes: tuple[str, ...],
    max_rejected_share: float = MAX_REJECTED_SHARE,
    progress: Progress = silent,
) -> Manifest:
    """Write the images of `classes`, whose order is that of the labels, into the folder `output`.

    A bad image goes to `rejected/` with its reason in the manifest. Raises ArchiveError if the archive cannot be
    read, and DataSetError if a class is unknown or has no images, if a split has more than `max_rejected_share`
    bad images, or if `output` is something else than a data set. The folder is replaced whole or not at all.
    """
    if output.exists() and not (output / MANIFEST).is_file() and not _is_empty_folder(output):
        raise DataSetError(f"{output}: exists and is not a data set; remove it or choose another --output")
    with (
        only_one(output),
        replaced_folder(output) as folder,
        # Making a file takes as long as encoding and checking it, and neither waits for the other
        ThreadPoolExecutor(_WRITERS) as writers,
    ):
        source = read_archive(archive, progress)
        selected = _rows_of_classes(source, classes)
        checks, digest = PixelChecks(), DataDigest()
        splits = {}
        # The training images come first, so an image in both splits stays where the model learns from it
        for split in SPLITS:
            builder = _SplitBuilder(folder, split, classes, checks, digest, writers=writers)
            batch = source.splits[split]
            for start in range(0, len(selected[split]), _IMAGES_AT_A_TIME):
                rows = selected[split][start : start + _IMAGES_AT_A_TIME]
                builder.add([(batch.pixels(row), label, batch.filenames[row]) for row, label in rows])
                progress(f"Writing the {split} images", start + len(rows), len(selected[split]))
            splits[split] = builder.finish(max_rejected_share)
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            classes=classes,
            archive=ArchiveInfo(source.sha256, _origin(source), source.is_synthetic),
            splits=splits,
            data_digest=digest.hexdigest(),
            parameters={
                "image_size": IMAGE_SIZE,
                "png_compress_level": PNG_COMPRESS_LEVEL,
                "max_rejected_share": max_rejected_share,
            },
        )
        manifest.save(folder)
    return manifest


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _origin(archive: Archive) -> str:
    if archive.sha256 == CIFAR_100.sha256:
        return CIFAR_100.url
    return "synthetic" if archive.is_synthetic else "custom archive"


def _rows_of_classes(archive: Archive, classes: tuple[str, ...]) -> dict[str, list[tuple[int, int]]]:
    """For each split, (row, label) of the images of `classes`, in the archive's order."""
    for name in classes:
        if name not in archive.class_names:
            near = get_close_matches(name, archive.class_names, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(archive.class_names)}"
            raise DataSetError(f"class {name!r} is not in the archive; {hint}")
    labels = np.full(len(archive.class_names), -1, np.int64)
    for label, name in enumerate(classes):
        labels[archive.class_names.index(name)] = label
    selected = {}
    for split in SPLITS:
        split_labels = labels[archive.splits[split].labels]
        for label, name in enumerate(classes):
            if label not in split_labels:
                raise DataSetError(f"the archive has no {split} image of class {name!r}")
        rows = np.flatnonzero(split_labels >= 0)
        selected[split] = [(int(row), int(split_labels[row])) for row in rows]
    return selected


class _SplitBuilder:
    """Writes the images of one split."""

    def __init__(
        self,
        folder: Path,
        split: str,
        classes: tuple[str, ...],
        checks: PixelChecks,
        digest: DataDigest,
        *,
        writers: ThreadPoolExecutor,
    ) -> None:
        self._folder = folder
        self._split = split
        self._classes = classes
        self._checks = checks
        self._digest = digest
        self._writers = writers
        self._writes: list[Future[int]] = []
        self._images = folder / IMAGES[split]
        self._images.mkdir()
        self._names = _UniqueNames()
        self._lines: list[ListLine] = []
        self._rejected: list[Rejection] = []

    def add(self, images: list[tuple[NDArray[np.uint8], int, str]]) -> None:
        """Check some images, each with its label and original name, and write or reject them, in their order."""
        files = [self._take(*image) for image in images]
        self._wait()
        self._writes = [self._writers.submit(path.write_bytes, png) for path, png in files]

    def _wait(self) -> None:
        for write in self._writes:
            write.result()

    def _take(self, pixels: NDArray[np.uint8], label: int, original_name: str) -> tuple[Path, bytes]:
        """Check one image before and after encoding it; where it goes, and its PNG."""
        name = self._names.take(original_name)
        png = encode_png(pixels)
        try:
            self._checks.check(pixels, self._split, name)
            if not np.array_equal(decode(png, size=IMAGE_SIZE), pixels):
                raise BadImageError("the encoded image has other pixels")
        except BadImageError as error:
            file = self._folder / REJECTED / self._split / name
            file.parent.mkdir(parents=True, exist_ok=True)
            self._rejected.append(Rejection(f"{self._split}/{name}", self._classes[label], str(error)))
            return file, png
        line = ListLine(len(self._lines), label, name)
        self._lines.append(line)
        self._digest.add(self._split, line, sha256(png).hexdigest())
        return self._images / name, png

    def finish(self, max_rejected_share: float) -> Split:
        """Write the `.lst` file; raises DataSetError if too many images were rejected."""
        self._wait()
        rejected, total = len(self._rejected), len(self._lines) + len(self._rejected)
        if rejected > max_rejected_share * total:
            first = self._rejected[0]
            raise DataSetError(
                f"{rejected} of {total} {self._split} images are bad ({rejected / total:.1%}, allowed are "
                f"{max_rejected_share:.1%}), the first is {first.file}: {first.reason}; "
                "use another archive or allow more with --max-rejected-share"
            )
        write_list(self._folder / LISTS[self._split], self._lines)
        by_label = Counter(line.label for line in self._lines)
        counts = {name: by_label[label] for label, name in enumerate(self._classes)}
        return Split(counts, len(self._lines), tuple(self._rejected))


class _UniqueNames:
    """File names that are safe on every system and in S3 keys, and unique also where case does not count."""

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
