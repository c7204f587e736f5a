"""Is a data set folder fit to train on? Also one that somebody else made, of PNG or JPEG, nested, without manifest."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from data_prep.dataset import IMAGES, LISTS, MANIFEST, Manifest, read_list
from data_prep.errors import DataSetError
from data_prep.images import BadImageError, PixelChecks, decode
from data_prep.progress import Progress, silent
from lambda_src.lst_file import DataDigest

MAX_IMAGE_BYTES = 32 << 20


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file, named relative to the data set folder (`file:line` in a `.lst` file)."""

    file: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What was found: good images by split, the number of labels, the data digest, and every problem."""

    images: dict[str, int]
    labels: int
    data_digest: str
    problems: tuple[Problem, ...]

    @property
    def is_valid(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def validate_dataset(folder: Path, *, image_size: int | None = None, progress: Progress = silent) -> Report:
    """Check every line of the `.lst` files and every image they name, one image in memory at a time.

    Images must be `image_size` pixels wide and high; without it, what the manifest says, or any size if there is no
    manifest. With a manifest, the data must be what it was when that was written. Raises DataSetError if there is
    no `.lst` file to read or the manifest cannot be read.
    """
    if not folder.is_dir():
        raise DataSetError(f"{folder}: no such folder; `python -m data_prep build` makes one")
    manifest = Manifest.load(folder) if (folder / MANIFEST).exists() else None
    if image_size is None and manifest:
        image_size = int(manifest.parameters["image_size"])
    validation = _Validation(folder, image_size)
    problems: list[Problem] = []
    for split in LISTS:
        total = _line_count(folder / LISTS[split])
        for done, found in enumerate(validation.problems_of(split), 1):
            problems.extend(found)
            progress(f"Checking the {split} images", done, total)
    report = Report(validation.images, len(validation.labels), validation.digest.hexdigest(), ())
    problems.extend(_problems_of_whole(validation, report, manifest))
    return Report(report.images, report.labels, report.data_digest, tuple(problems))


class _Validation:
    """What is known while lines go by: small values for each image, never the image."""

    def __init__(self, folder: Path, image_size: int | None) -> None:
        self._folder = folder
        self._image_size = image_size
        self._checks = PixelChecks()
        self.digest = DataDigest()
        self.images = dict.fromkeys(LISTS, 0)
        self.labels: set[int] = set()

    def problems_of(self, split: str) -> Iterator[list[Problem]]:
        """The problems of each line."""
        indexes: set[int] = set()
        for number, line in read_list(self._folder / LISTS[split]):
            where = f"{LISTS[split]}:{number}"
            if isinstance(line, ValueError):
                yield [Problem(where, str(line))]
                continue
            problems = []
            if line.index in indexes:
                problems.append(Problem(where, f"index {line.index} is not unique"))
            indexes.add(line.index)
            self.labels.add(line.label)
            try:
                data = _read(self._folder / IMAGES[split] / line.path)
                self.digest.add(split, line, sha256(data).hexdigest())
                self._checks.check(decode(data, size=self._image_size), split, line.path)
                self.images[split] += 1
            except BadImageError as error:
                problems.append(Problem(f"{IMAGES[split]}{line.path}", str(error)))
            yield problems


def _problems_of_whole(validation: _Validation, report: Report, manifest: Manifest | None) -> Iterator[Problem]:
    for split, images in report.images.items():
        if not images:
            yield Problem(LISTS[split], "has no good image")
    if missing := set(range(max(validation.labels, default=0))) - validation.labels:
        first = min(missing)
        yield Problem(LISTS["train"], f"labels are not contiguous from 0: there is no {first}")
    if manifest and manifest.data_digest != report.data_digest:
        yield Problem(MANIFEST, "images or .lst files are not those that were built: the data digest differs")


def _line_count(file: Path) -> int:
    return sum(1 for _ in read_list(file))


def _read(file: Path) -> bytes:
    try:
        if not file.is_file():
            raise BadImageError("no such file")
        if (size := file.stat().st_size) > MAX_IMAGE_BYTES:
            raise BadImageError(f"has {size:,} bytes, more than {MAX_IMAGE_BYTES:,}")
        return file.read_bytes()
    except OSError as error:
        raise BadImageError(f"cannot be read: {error.strerror}") from None
