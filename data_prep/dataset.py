"""A data set folder: images by split, their `.lst` files and the manifest, at the same paths as in the bucket.

train/NAME.png       test/NAME.png
train_lst/train.lst  test_lst/test.lst
rejected/SPLIT/NAME.png
manifest.json
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from data_prep.errors import DataSetError
from lambda_src.retraining.data_set_rules import MANIFEST_KEY
from lambda_src.retraining.lst_file import ListLine, parse_lines
from stacks.config import PROJECT_ROOT
from stacks.shared import prefixes

FORMAT_VERSION = 2
MANIFEST = MANIFEST_KEY
REJECTED = "rejected"

# The folder of the images and the .lst file of each split, as in the bucket
IMAGES = {"train": prefixes.TRAIN, "test": prefixes.TEST}
LISTS = {"train": f"{prefixes.TRAIN_LST}train.lst", "test": f"{prefixes.TEST_LST}test.lst"}

# A class with fewer images than this share of its split's largest class gets a warning
SMALL_CLASS = 0.1

_OF_REVIEWS = ("reviewed", "original_digest")
_STRICT = ConfigDict(extra="forbid", strict=True)


def default_folder(environment: str) -> Path:
    return PROJECT_ROOT / "data" / environment


def small_classes(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A warning for each class that is much smaller than the largest, from the number of images by split and class.

    No other check finds such a data set: a model that never predicts the small class is nearly always correct.
    """
    warnings = []
    for split, by_class in counts.items():
        largest = max(by_class, key=lambda name: by_class[name])
        warnings += [
            f"{split} has {count:,} images of {name!r} and {by_class[largest]:,} of {largest!r}: accuracy says little "
            f"about {name!r}; add images of it, or remove it from `classes` in cdk.json"
            for name, count in by_class.items()
            if count < SMALL_CLASS * by_class[largest]
        ]
    return warnings


def find_list(folder: Path, split: str) -> Path:
    """The `.lst` file of a split, which the original has in the root; raises DataSetError if there is none."""
    if not folder.is_dir():
        raise DataSetError(f"{folder}: no such folder; `python -m data_prep build` creates one")
    for name in (LISTS[split], f"{split}.lst"):
        if (folder / name).is_file():
            return folder / name
    raise DataSetError(
        f"{folder}: has neither {LISTS[split]} nor {split}.lst; a data set has images in train/ and test/, and for "
        "each a list with index, label and path of every image; `python -m data_prep build` creates one"
    )


def list_text(lines: Iterable[ListLine]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def write_list(file: Path, lines: Iterable[ListLine]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(list_text(lines))


def read_list(file: Path) -> Iterator[tuple[int, ListLine | ValueError]]:
    """Each non-empty line by its number, parsed or as a ValueError; raises DataSetError if the file cannot be read."""
    try:
        with file.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            yield from parse_lines(lines)
    except OSError as error:
        raise DataSetError(f"{file}: cannot be read: {error.strerror}") from None


@dataclass(frozen=True, config=_STRICT)
class Rejection:
    """An image that was rejected; `file` is its path below `rejected/`."""

    file: str
    class_name: str
    reason: str


@dataclass(frozen=True, config=_STRICT)
class Split:
    """The content of a split: the number of images by class, in label order, and the rejected images."""

    counts: dict[str, int]
    total: int
    rejected: tuple[Rejection, ...]


@dataclass(frozen=True, config=_STRICT)
class ArchiveInfo:
    """The origin of the images."""

    sha256: str
    source: str
    is_synthetic: bool


@dataclass(frozen=True, config=_STRICT)
class ReviewedImage:
    """An image that was added from a review: its line in the split's `.lst` file, and the object that it copies."""

    split: str
    label: int
    path: str  # reviewed/SHA256.png, of the file's own SHA-256
    s3_bucket: str
    s3_key: str
    s3_version_id: str | None


@dataclass(frozen=True, config=_STRICT)
class Manifest:
    """The description of a data set. It has no timestamp, so building the same archive again gives the same bytes.

    The splits and the data digest include the reviewed images, which `python -m ops review publish` adds in the bucket.
    `original_digest` is the data digest without them.
    """

    format_version: int
    classes: tuple[str, ...]
    archive: ArchiveInfo
    splits: dict[str, Split]
    data_digest: str
    parameters: dict[str, int | float]
    reviewed: tuple[ReviewedImage, ...] = ()
    original_digest: str = ""

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """The manifest of a data set folder; raises DataSetError."""
        file = folder / MANIFEST
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataSetError(
                f"{file}: cannot be read ({error.strerror}); `python -m data_prep build` writes it"
            ) from None
        return cls.parse(content, name=str(file))

    @classmethod
    def parse(cls, content: bytes, *, name: str) -> "Manifest":
        """Parse the content of the file or object `name`; raises DataSetError."""
        try:
            manifest = _ADAPTER.validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DataSetError(f"{name}: {where or 'content'}: {first['msg']}; build the data set again") from None
        if manifest.format_version != FORMAT_VERSION:
            raise DataSetError(f"{name}: has format {manifest.format_version}, not {FORMAT_VERSION}; build it again")
        return manifest

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """The number of images by split and class."""
        return {name: split.counts for name, split in self.splits.items()}

    def as_dict(self) -> dict[str, Any]:
        """The manifest as a dictionary; without reviewed images, it does not have their members."""
        content = dataclasses.asdict(self)
        return content if self.reviewed else {k: v for k, v in content.items() if k not in _OF_REVIEWS}

    def as_json(self) -> bytes:
        return f"{json.dumps(self.as_dict(), ensure_ascii=False, indent=2)}\n".encode()

    def summary(self) -> str:
        """Text for a terminal: a line for each split, the source and the digest."""
        lines = []
        for name, split in self.splits.items():
            counts = ", ".join(f"{count:,} {label}" for label, count in split.counts.items())
            lines.append(f"{name:5} {split.total:,} images: {counts}; {len(split.rejected)} rejected")
        return "\n".join([*lines, f"source {self.archive.source}", f"data digest {self.data_digest}"])

    def save(self, folder: Path) -> None:
        (folder / MANIFEST).write_bytes(self.as_json())


_ADAPTER = TypeAdapter(Manifest)
