"""Small archives in CIFAR-100's format."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.cifar import write_archive

CLASS_NAMES = ("apple", "bicycle", "bee", "motorcycle")
CLASSES = ("bicycle", "motorcycle")

Split = tuple[list[str], list[int], Any]


def noise(count: int, seed: int) -> Any:
    """`count` different images, of shape (count, 32, 32, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def split_of(count: int, seed: int) -> Split:
    labels = [index % len(CLASS_NAMES) for index in range(count)]
    return [f"image_{seed}_{index}.png" for index in range(count)], labels, noise(count, seed)


def archive_of(path: Path, *, train: Split | None = None, test: Split | None = None) -> Path:
    write_archive(
        path, class_names=CLASS_NAMES, splits={"train": train or split_of(20, 1), "test": test or split_of(8, 2)}
    )
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """20 training and 8 test images of four classes."""
    return archive_of(tmp_path / "archive.tar.gz")


@pytest.fixture
def tar_of(tmp_path: Path) -> Callable[..., Path]:
    """Makes a gzipped tar of any members."""

    def make(*members: tuple[tarfile.TarInfo, bytes]) -> Path:
        path = tmp_path / "made.tar.gz"
        with tarfile.open(path, "w:gz", compresslevel=1) as tar:
            for info, data in members:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return make
