"""The stand-in model: accuracy beside the original's, training time.

    python -m benchmarks.model [--archive cifar-100-python.tar.gz]

Without an archive the images are synthetic, and the figures say nothing about photographs.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from model import Model
from stacks.config import PROJECT_ROOT

# Of the built-in algorithm, from scratch: what the notebook claims; the last epochs of 189 public logs
ORIGINAL, MEDIAN_PUBLIC, BEST_PUBLIC = 0.844, 0.833, 0.917
FOLDS = 5

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="a CIFAR-100 archive")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        archive = arguments.archive or Path(folder) / "sample.tar.gz"
        if not arguments.archive:
            data_prep("sample", str(archive))
        data_prep("build", "--archive", str(archive), "--output", f"{folder}/dataset")
        train, test = (read_split(Path(folder) / "dataset", split) for split in ("train", "test"))
    started = time.perf_counter()
    model = Model.train(*train, num_classes=2)
    seconds = time.perf_counter() - started
    table = Table("model", "images", "accuracy", "s", box=None, pad_edge=False)
    table.add_row("original notebook (built-in algorithm)", "200", f"{ORIGINAL:.3f}", "")
    table.add_row("median public run (built-in algorithm)", "200", f"{MEDIAN_PUBLIC:.3f}", "")
    table.add_row("best public run (built-in algorithm)", "200", f"{BEST_PUBLIC:.3f}", "")
    table.add_row("stand-in, test images", str(len(test[0])), f"{accuracy(model, *test):.3f}", f"{seconds:.1f}")
    table.add_row(f"stand-in, {FOLDS}-fold on the training images", str(len(train[0])), f"{folds(*train):.3f}", "")
    Console().print(table)


def data_prep(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "data_prep", *arguments, "--quiet"], cwd=PROJECT_ROOT, check=True)


def read_split(dataset: Path, split: str) -> tuple[Images, Labels]:
    lines = (dataset / f"{split}_lst" / f"{split}.lst").read_text(encoding="utf-8").splitlines()
    images, labels = [], []
    for line in lines:
        _, label, path = line.split("\t")
        with Image.open(dataset / split / path) as image:
            images.append(np.asarray(image.convert("RGB"), dtype=np.uint8))
        labels.append(int(label))
    return np.stack(images), np.array(labels)


def accuracy(model: Model, images: Images, labels: Labels) -> float:
    return float(np.mean(model.predict(images).argmax(axis=1) == labels))


def folds(images: Images, labels: Labels) -> float:
    """Mean accuracy on fifths of the images, each by a model of the other four."""
    part = np.random.default_rng(0).permutation(len(images)) % FOLDS
    right = []
    for number in range(FOLDS):
        held = part == number
        model = Model.train(images[~held], labels[~held], num_classes=2)
        right.append(accuracy(model, images[held], labels[held]))
    return float(np.mean(right))


if __name__ == "__main__":
    main()
