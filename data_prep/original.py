"""Imports the folder of the original's notebook into a data set folder like the one that `build` creates.

The notebook wrote RGBA PNG into `train/` and `test/`, and the lists `train.lst` and `test.lst` beside them. Their
labels start from 0, or are the archive's (8 for bicycle, 48 for motorcycle), and their lines may end with CRLF.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from data_prep.cifar import IMAGE_SIZE, SPLITS
from data_prep.dataset import IMAGES, ArchiveInfo, Manifest, default_folder, find_list, read_list, small_classes
from data_prep.errors import DataSetError
from data_prep.images import BadImageError, decode
from data_prep.options import AsJson, EnvironmentName, MaxRejectedShare, Output, Quiet
from data_prep.progress import Progress, progress_bars, silent
from data_prep.terminal import show, warn
from data_prep.validate import read_image
from data_prep.writer import MAX_REJECTED_SHARE, SourceImage, written_dataset
from lambda_src.retraining.lst_file import DataDigest, ListLine
from stacks.config import load_environment
from stacks.shared.cifar_100 import CLASS_NAMES

SOURCE = "imported folder"


def import_folder(
    folder: Annotated[Path, typer.Argument(help="With train/ and test/, and train.lst and test.lst beside them.")],
    *,
    env: EnvironmentName = "dev",
    output: Output = None,
    max_rejected_share: MaxRejectedShare = MAX_REJECTED_SHARE,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn the folder of the original's notebook into a data set, with checked images and the labels of cdk.json."""
    target = output or default_folder(env)
    with progress_bars(quiet=quiet) as progress:
        manifest = import_dataset(
            folder,
            target,
            classes=load_environment(env).classes,
            max_rejected_share=max_rejected_share,
            progress=progress,
        )
    show(manifest.as_dict(), f"{target}\n{manifest.summary()}", as_json=as_json)
    warn(small_classes(manifest.counts))


def import_dataset(
    folder: Path,
    output: Path,
    *,
    classes: tuple[str, ...],
    max_rejected_share: float = MAX_REJECTED_SHARE,
    progress: Progress = silent,
) -> Manifest:
    """Write the images that the folder's lists name as the data set `output`, which is replaced as a whole.

    The images are written as `build` writes them, in the order of the lists, so that the same images give the same data
    set. The lists' labels are indexes into `classes`, or CIFAR-100's labels of these classes, which are converted. Bad
    images go to `rejected/`, with the reason in the manifest. Raises DataSetError if a list is missing or cannot be
    read, if its labels are neither of the two, or if a split has a larger share of bad images than
    `max_rejected_share`.
    """
    lists = {split: _lines(find_list(folder, split)) for split in SPLITS}
    labels = _labels({line.label for lines in lists.values() for line in lines}, classes, folder)
    digest = DataDigest()
    with written_dataset(output, classes=classes, max_rejected_share=max_rejected_share) as writer:
        for split, lines in lists.items():
            with writer.split(split) as images:
                for done, line in enumerate(lines, 1):
                    images.add([_image(folder / IMAGES[split] / line.path, line, labels, split, digest.add)])
                    progress(f"Importing the {split} images", done, len(lines))
        return writer.finish(ArchiveInfo(digest.hexdigest(), SOURCE, is_synthetic=False))


def _lines(file: Path) -> list[ListLine]:
    lines = []
    for number, line in read_list(file):
        if isinstance(line, ValueError):
            raise DataSetError(f"{file}:{number}: {line}")
        lines.append(line)
    return lines


def _labels(found: set[int], classes: tuple[str, ...], folder: Path) -> Mapping[int, int]:
    """The new label for each label in the lists."""
    places = {place: place for place in range(len(classes))}
    archive_labels = {CLASS_NAMES.index(name): place for place, name in enumerate(classes)}
    for known in (places, archive_labels):
        if found == set(known):
            return known
    raise DataSetError(
        f"{folder}: its lists have the labels {', '.join(map(str, sorted(found)[:10]))}, but {', '.join(classes)} are "
        f"{', '.join(map(str, places))}, or {', '.join(map(str, archive_labels))} in CIFAR-100: set `classes` in "
        "cdk.json to what the folder holds, in the order of its labels"
    )


def _image(
    file: Path, line: ListLine, labels: Mapping[int, int], split: str, note: Callable[[str, ListLine, str], None]
) -> SourceImage:
    data, name, label = b"", line.path, labels[line.label]
    try:
        data = read_image(file)
        note(split, line, sha256(data).hexdigest())
        return SourceImage(name, label, decode(data, size=IMAGE_SIZE))
    except BadImageError as error:
        return SourceImage(name, label, None, str(error), data)
