"""Builds a data set folder of checked PNG images from some classes of a CIFAR-100 archive."""

from difflib import get_close_matches
from pathlib import Path

import numpy as np

from data_prep.cifar import SPLITS, Archive, read_archive
from data_prep.dataset import ArchiveInfo, Manifest, default_folder, small_classes
from data_prep.errors import DataSetError
from data_prep.fetch import CIFAR_100, archive_for
from data_prep.options import ArchivePath, AsJson, EnvironmentName, MaxRejectedShare, Output, Quiet, Synthetic
from data_prep.progress import Progress, progress_bars, silent
from data_prep.terminal import show, warn
from data_prep.writer import MAX_REJECTED_SHARE, SourceImage, written_dataset
from stacks.config import load_environment

_IMAGES_AT_A_TIME = 256  # limits memory


def build(
    *,
    env: EnvironmentName = "dev",
    archive: ArchivePath = None,
    synthetic: Synthetic = False,
    output: Output = None,
    max_rejected_share: MaxRejectedShare = MAX_REJECTED_SHARE,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the images of the environment's classes as checked PNG, with .lst files and a manifest."""
    config = load_environment(env)
    source = archive_for(config, archive, synthetic=synthetic, quiet=quiet)
    folder = output or default_folder(env)
    with progress_bars(quiet=quiet) as progress:
        manifest = build_dataset(
            source, folder, classes=config.classes, max_rejected_share=max_rejected_share, progress=progress
        )
    show(manifest.as_dict(), f"{folder}\n{manifest.summary()}", as_json=as_json)
    warn(small_classes(manifest.counts))


def build_dataset(
    archive: Path,
    output: Path,
    *,
    classes: tuple[str, ...],
    max_rejected_share: float = MAX_REJECTED_SHARE,
    progress: Progress = silent,
) -> Manifest:
    """Write the images of `classes`, in label order, into the folder `output`, which is replaced as a whole.

    Bad images go to `rejected/`, with the reason in the manifest. Raises ArchiveError if the archive cannot be read,
    and DataSetError if a class is unknown or has no images, if a split has a larger share of bad images than
    `max_rejected_share`, or if `output` exists and is not a data set.
    """
    with written_dataset(output, classes=classes, max_rejected_share=max_rejected_share) as writer:
        source = read_archive(archive, progress)
        selected = _rows_of_classes(source, classes)
        # The training images come first, so an image in both splits stays in the training split
        for split in SPLITS:
            batch = source.splits[split]
            with writer.split(split) as images:
                for start in range(0, len(selected[split]), _IMAGES_AT_A_TIME):
                    rows = selected[split][start : start + _IMAGES_AT_A_TIME]
                    images.add([SourceImage(batch.filenames[row], label, batch.pixels(row)) for row, label in rows])
                    progress(f"Writing the {split} images", start + len(rows), len(selected[split]))
        return writer.finish(ArchiveInfo(source.sha256, _origin(source), source.is_synthetic))


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
