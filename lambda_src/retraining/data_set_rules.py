"""What makes a data set fit to train on: one set of rules, for `data_prep validate` and for ValidateDataSet.

The one reads a folder and has an image decoder, the other reads the bucket and has none: blank images, the same pixels
in two encodings and pixels that do not unpack are all that it cannot find.

A PNG or JPEG of any mode is fit, as the workflow and the algorithm take it: the algorithm decodes to RGB of 8 bits and
drops alpha without blending it (OpenCV's imdecode, https://docs.opencv.org/4.x/d8/d6a/group__imgcodecs__flags.html).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lambda_src.retraining.lst_file import DataDigest, ListLine
from lambda_src.shared.errors import ImageError
from lambda_src.shared.image_format import check_image, image_size

MANIFEST_KEY = "manifest.json"
MAX_IMAGE_BYTES = 32 << 20

# What differs between two problems of one kind: numbers, quoted texts, paths
_VARYING = re.compile(r"b?'[^']*'|\S*/\S*|\d[\d,.]*")
_EXAMPLES = 3


@dataclass(frozen=True)
class CheckedImage:
    """A line's image: the digest of its file and what is equal for equal images, or why it is not fit."""

    line: ListLine
    sha256: str = ""
    fingerprint: bytes = b""
    reason: str = ""


def image_problem(data: bytes, *, size: int | None) -> str:
    """Why these bytes are no image to train on, if they are none; `size` is the width and height it must have."""
    try:
        check_image(data, name="")  # the check of SerializeImageData: what trains can also be served
    except ImageError as error:
        return str(error).removesuffix(": ")
    width, height = image_size(data)
    return f"is {width}x{height}, not {size}x{size} pixels" if size and (width, height) != (size, size) else ""


def size_problem(size: int) -> str:
    """Why a file of so many bytes is not read, if it is too large."""
    return f"has {size:,} bytes, more than {MAX_IMAGE_BYTES:,}" if size > MAX_IMAGE_BYTES else ""


class SeenImages:
    """The images of a data set by what is equal for equal ones."""

    def __init__(self) -> None:
        self._seen: dict[bytes, str] = {}

    def repetition(self, fingerprint: bytes, name: str) -> str:
        """Which earlier image the one called `SPLIT/PATH` is, if it is none for the first time."""
        first = self._seen.setdefault(fingerprint, name)
        if first is name:
            return ""
        leak = "" if first.partition("/")[0] == name.partition("/")[0] else ", in the other split"
        return "listed twice" if first == name else f"same image as {first}{leak}"


class DataSetRules:
    """What is known while lines go by: small values for each image, never the image.

    `report` is called with the file (`file:line` in a `.lst` file) and the reason of each problem.
    """

    def __init__(self, classes: Sequence[str], report: Callable[[str, str], None]) -> None:
        self._classes = classes
        self._reported = 0
        self._report = report
        self._seen = SeenImages()
        self._digest = DataDigest()
        self._labels: set[int] = set()
        self.images = {"train": 0, "test": 0}

    def problem(self, file: str, reason: str) -> None:
        self._reported += 1
        self._report(file, reason)

    @property
    def data_digest(self) -> str:
        return self._digest.hexdigest()

    @property
    def label_count(self) -> int:
        return len(self._labels)

    def lines(self, list_name: str, lines: Iterable[tuple[int, ListLine | ValueError]]) -> Iterator[ListLine]:
        """The lines of a `.lst` file that name an image."""
        indexes: set[int] = set()
        for number, line in lines:
            if isinstance(line, ValueError):
                self.problem(f"{list_name}:{number}", str(line))
                continue
            if line.index in indexes:
                self.problem(f"{list_name}:{number}", f"index {line.index} is not unique")
            indexes.add(line.index)
            self._labels.add(line.label)
            yield line

    def add(self, split: str, image: CheckedImage) -> None:
        """One image, in the order of the lines."""
        name = f"{split}/{image.line.path}"
        if not image.reason:
            self._digest.add(split, image.line, image.sha256)
        reason = image.reason or self._seen.repetition(image.fingerprint, name)
        if reason:
            self.problem(name, reason)
        else:
            self.images[split] += 1

    def finish(self, lists: dict[str, str], manifest: dict[str, Any]) -> None:
        """Check the whole: `lists` are the `.lst` files by split; `manifest` is data_prep's, or empty."""
        for split, name in lists.items():
            if not self.images[split]:
                self.problem(name, "has no good image")
        if self._labels != set(range(len(self._classes))):
            found = ", ".join(map(str, sorted(self._labels)[:10]))
            self.problem(
                lists["train"],
                f"has the labels {found}, but {', '.join(self._classes)} need each of 0 to {len(self._classes) - 1}",
            )
        if manifest and manifest["data_digest"] != self.data_digest and not self._reported:
            self.problem(MANIFEST_KEY, "images or .lst files are not those that were built: the data digest differs")


class ProblemGroups:
    """Problems counted by kind: those whose reasons differ in numbers and names only are one."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[str, list[str]]] = {}
        self._counts: dict[str, int] = {}

    def add(self, file: str, reason: str) -> None:
        kind = _VARYING.sub("", reason)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        _, examples = self._groups.setdefault(kind, (reason, []))
        if len(examples) < _EXAMPLES:
            examples.append(file)

    @property
    def total(self) -> int:
        return sum(self._counts.values())

    def lines(self) -> list[str]:
        """A line for each kind, with the files that were first, and the first's reason."""
        return [
            f"{self._counts[kind]:,} files, {', '.join(files)}{', ...' * (self._counts[kind] > len(files))}: {reason}"
            if self._counts[kind] > 1
            else f"{files[0]}: {reason}"
            for kind, (reason, files) in self._groups.items()
        ]
