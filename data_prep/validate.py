"""Checks whether a data set folder may be trained on, also one from elsewhere: nested, JPEG, without a manifest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from data_prep.dataset import IMAGES, LISTS, MANIFEST, Manifest, default_folder, find_list, read_list, small_classes
from data_prep.images import BadImageError, decode, fingerprint
from data_prep.options import AsJson, EnvironmentName, Quiet
from data_prep.progress import Progress, progress_bars, silent
from data_prep.terminal import note, show, warn
from lambda_src.retraining.data_set_rules import CheckedImage, DataSetRules, ProblemGroups, size_problem
from lambda_src.retraining.lst_file import ListLine
from stacks.config import load_environment


@dataclass(frozen=True)
class Problem:
    """A problem in a file, whose name is relative to the data set folder (`file:line` in a `.lst` file)."""

    file: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The result: valid images by split, lines by split and class, the number of labels, and every problem."""

    images: dict[str, int]
    counts: dict[str, dict[str, int]]
    labels: int
    data_digest: str
    problems: tuple[Problem, ...]

    @property
    def is_valid(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def validate(
    folder: Annotated[Path | None, typer.Argument(help="Data set folder; default is data/ENV.")] = None,
    *,
    env: EnvironmentName = "dev",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Check a data set folder, whatever its origin; exit code 1 if anything in it should not be trained on."""
    folder = folder or default_folder(env)
    with progress_bars(quiet=quiet) as progress:
        report = validate_dataset(folder, classes=load_environment(env).classes, progress=progress)
    found = ", ".join(f"{count:,} {split}" for split, count in report.images.items())
    groups = ProblemGroups()
    for problem in report.problems:
        groups.add(problem.file, problem.reason)
    summary = f"{folder}: {found} images are good, {report.labels} labels, {groups.total:,} problems"
    show(report.as_dict(), "\n".join([*groups.lines(), summary]), as_json=as_json)
    warn(small_classes(report.counts))
    if not report.is_valid:
        if not (folder / MANIFEST).exists():
            note(
                f"`python -m data_prep import {folder}` makes a data set of it: it leaves bad images out, and takes "
                "lists in the root and CIFAR-100's own labels"
            )
        raise typer.Exit(1)


def validate_dataset(folder: Path, *, classes: Sequence[str], progress: Progress = silent) -> Report:
    """Check every line of the `.lst` files and every image that they name, with one image in memory at a time.

    Labels are indexes into `classes`, or into the manifest's classes if there is one. With a manifest, the data digest
    and the images' size must match it. Raises DataSetError if a `.lst` file is missing or the manifest cannot be read.
    """
    lists = {split: find_list(folder, split) for split in LISTS}
    manifest = Manifest.load(folder) if (folder / MANIFEST).exists() else None
    image_size = int(manifest.parameters["image_size"]) if manifest else None
    names = {split: str(file.relative_to(folder)) for split, file in lists.items()}
    problems: list[Problem] = []
    classes = manifest.classes if manifest else classes
    rules = DataSetRules(classes, lambda file, reason: problems.append(Problem(file, reason)))
    counts = {split: dict.fromkeys(classes, 0) for split in lists}
    for split, file in lists.items():
        total = sum(1 for _ in read_list(file))
        for done, line in enumerate(rules.lines(names[split], read_list(file)), 1):
            if line.label < len(classes):
                counts[split][classes[line.label]] += 1
            rules.add(split, _checked(folder / IMAGES[split] / line.path, line, image_size))
            progress(f"Checking the {split} images", done, total)
    rules.finish(names, manifest.as_dict() if manifest else {})
    return Report(rules.images, counts, rules.label_count, rules.data_digest, tuple(problems))


def _checked(file: Path, line: ListLine, image_size: int | None) -> CheckedImage:
    try:
        data = read_image(file)
        return CheckedImage(line, sha256(data).hexdigest(), fingerprint(decode(data, size=image_size)))
    except BadImageError as error:
        return CheckedImage(line, reason=str(error))


def read_image(file: Path) -> bytes:
    """A file's content; raises BadImageError if it cannot be read or is too large."""
    try:
        if not file.is_file():
            raise BadImageError("no such file")
        if reason := size_problem(file.stat().st_size):
            raise BadImageError(reason)
        return file.read_bytes()
    except OSError as error:
        raise BadImageError(f"cannot be read: {error.strerror}") from None
