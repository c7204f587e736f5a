"""The rules for a data set that may be trained on, shared by `data_prep validate` and ValidateDataSet.

`data_prep validate` reads a folder and decodes the images. ValidateDataSet reads the bucket and has no decoder, so it
cannot find blank images, the same pixels in two encodings, and pixels that do not decompress.

PNG and JPEG of any mode are accepted, because the workflow and the algorithm accept them: the algorithm decodes to RGB
of 8 bits and drops alpha (OpenCV's imdecode, https://docs.opencv.org/4.x/d8/d6a/group__imgcodecs__flags.html).
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

# The parts in which two reasons of the same kind differ: numbers, quoted text, paths
_VARYING = re.compile(r"b?'[^']*'|\S*/\S*|\d[\d,.]*")
_EXAMPLES = 3


@dataclass(frozen=True)
class CheckedImage:
    """The image of a line: the digest of its file and its fingerprint, or the reason why it must not be trained on.

    Images with the same fingerprint are the same image.
    """

    line: ListLine
    sha256: str = ""
    fingerprint: bytes = b""
    reason: str = ""


def image_problem(data: bytes, *, size: int | None) -> str:
    """Why these bytes must not be trained on, or "". `size` is the required width and height, if there is one."""
    try:
        check_image(data, name="")  # as in SerializeImageData: the workflow accepts every training image
    except ImageError as error:
        return str(error).removesuffix(": ")
    width, height = image_size(data)
    return f"is {width}x{height}, not {size}x{size} pixels" if size and (width, height) != (size, size) else ""


def size_problem(size: int) -> str:
    """Why a file of this many bytes is too large to be read, or ""."""
    return f"has {size:,} bytes, more than {MAX_IMAGE_BYTES:,}" if size > MAX_IMAGE_BYTES else ""


class SeenImages:
    """The images of a data set by fingerprint."""

    def __init__(self) -> None:
        self._seen: dict[bytes, str] = {}

    def repetition(self, fingerprint: bytes, name: str) -> str:
        """The earlier image that this one, `SPLIT/PATH`, repeats, in words; "" if it is new."""
        first = self._seen.setdefault(fingerprint, name)
        if first is name:
            return ""
        leak = "" if first.partition("/")[0] == name.partition("/")[0] else ", in the other split"
        return "listed twice" if first == name else f"same image as {first}{leak}"


class DataSetRules:
    """Checks a data set line by line. Keeps only small values for each image, never the image.

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
        """The valid lines of a `.lst` file; the others are reported."""
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
        """Check one image. The images must come in the order of the lines."""
        name = f"{split}/{image.line.path}"
        if not image.reason:
            self._digest.add(split, image.line, image.sha256)
        reason = image.reason or self._seen.repetition(image.fingerprint, name)
        if reason:
            self.problem(name, reason)
        else:
            self.images[split] += 1

    def finish(self, lists: dict[str, str], manifest: dict[str, Any]) -> None:
        """Check the data set as a whole: `lists` are the `.lst` files by split; `manifest` is data_prep's, or empty."""
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
            self.problem(MANIFEST_KEY, "the data digest differs: images or .lst files have changed since the build")


class ProblemGroups:
    """Problems counted by kind. Problems whose reasons differ only in numbers and names are of one kind."""

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
        """A line for each kind: the count, the first few files, and the reason of the first."""
        return [
            f"{self._counts[kind]:,} files, {', '.join(files)}{', ...' * (self._counts[kind] > len(files))}: {reason}"
            if self._counts[kind] > 1
            else f"{files[0]}: {reason}"
            for kind, (reason, files) in self._groups.items()
        ]
