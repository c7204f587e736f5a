"""The `.lst` files that name a data set's images, and the digest of a data set; for `data_prep` and the functions.

Format: https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html#IC-inputoutput
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal

Source = Literal["original", "reviewed"]
# The folder of a split for images that were added from reviews (ops/review): train/reviewed/HASH.png
REVIEWED = "reviewed/"


@dataclass(frozen=True)
class ListLine:
    """One line of a `.lst` file: `index<TAB>label<TAB>path`, the path relative to the split's image folder."""

    index: int
    label: int
    path: str

    @property
    def source(self) -> Source:
        """Whether the image belongs to the original data set or was added from a review."""
        return source_of(self.path)

    def __str__(self) -> str:
        return f"{self.index}\t{self.label}\t{self.path}"


def source_of(path: str) -> Source:
    """The source of an image, by its path below the split's folder."""
    return "reviewed" if path.startswith(REVIEWED) else "original"


def parse_line(text: str) -> ListLine:
    """Parse one line without its line end; raises ValueError, also for a path that leaves the split's folder."""
    fields = text.split("\t")
    if len(fields) != 3:
        raise ValueError(f"{len(fields)} fields instead of index, label and path, separated by tabs: {text[:60]!r}")
    index, label, path = fields
    for name, value in (("index", index), ("label", label)):
        if not (value.isascii() and value.isdigit()) or len(value) > 9:
            raise ValueError(f"{name} {value[:20]!r} is not a whole number of at least 0")
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or not path.isprintable():
        raise ValueError(f"path {path[:60]!r} is not below the split's folder")
    return ListLine(int(index), int(label), path)


def parse_lines(lines: Iterable[str]) -> Iterator[tuple[int, ListLine | ValueError]]:
    """Each non-empty line by its number, parsed or as the ValueError that says what is wrong."""
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            yield number, parse_line(text.rstrip("\r\n"))
        except ValueError as error:
            yield number, error


class DataDigest:
    """A SHA-256 over every `.lst` line and the SHA-256 of its file: equal data sets have equal digests."""

    def __init__(self) -> None:
        self._sha256 = sha256()

    def add(self, split: str, line: ListLine, file_sha256: str) -> None:
        self._sha256.update(f"{split}\t{line}\t{file_sha256}\n".encode("utf-8", "surrogateescape"))

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()
