"""The model of model_src: accuracy compared with the original's, calibration, and coverage of a threshold.

    python -m benchmarks.model [--archive cifar-100-python.tar.gz | --dataset FOLDER]

Without an archive the images are synthetic, and the figures say nothing about photographs. FOLDER is what `data_prep
build` has written: with it the benchmark runs in `make test-container`'s environment as well.
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

# Accuracy of the built-in algorithm, from scratch: the notebook's claim, and the last epochs of 189 public logs
ORIGINAL, MEDIAN_PUBLIC, BEST_PUBLIC = 0.844, 0.833, 0.917
FOLDS, REPEATS, BINS = 5, 2, 15
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.93, 0.95)

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="a CIFAR-100 archive")
    parser.add_argument("--dataset", type=Path, help="a data set that is built already")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        dataset = arguments.dataset or Path(folder) / "dataset"
        if not arguments.dataset:
            archive = arguments.archive or Path(folder) / "sample.tar.gz"
            if not arguments.archive:
                data_prep("sample", str(archive))
            data_prep("build", "--archive", str(archive), "--output", str(dataset))
        train, test = (read_split(dataset, split) for split in ("train", "test"))
    started = time.perf_counter()
    model = Model.train(*train, num_classes=2)
    seconds = time.perf_counter() - started
    held_out = folds(*train)
    table = Table("model", "images", "accuracy", "calibration error", "training, s", box=None, pad_edge=False)
    table.add_row("original notebook (built-in algorithm)", "200", f"{ORIGINAL:.3f}")
    table.add_row("median public run (built-in algorithm)", "200", f"{MEDIAN_PUBLIC:.3f}")
    table.add_row("best public run (built-in algorithm)", "200", f"{BEST_PUBLIC:.3f}")
    for name, probabilities, labels, time_taken in (
        (f"{FOLDS} folds of the training images, {REPEATS} times", held_out, np.tile(train[1], REPEATS), ""),
        ("test images", model.predict(test[0]), test[1], f"{seconds:.1f}"),
    ):
        error = f"{calibration_error(probabilities, labels):.3f}"
        table.add_row(name, str(len(labels)), f"{accuracy(probabilities, labels):.3f}", error, time_taken)
    Console().print(table)
    table = Table("threshold, in the folds", "accepted", "accuracy of these", box=None, pad_edge=False)
    for threshold in THRESHOLDS:
        accepted = held_out.max(axis=1) >= threshold
        correct = accuracy(held_out[accepted], np.tile(train[1], REPEATS)[accepted])
        table.add_row(f"{threshold}", f"{accepted.mean():.3f}", f"{correct:.3f}")
    Console().print(table)


def data_prep(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "data_prep", *arguments, "--quiet"], cwd=Path(__file__).parents[1], check=True
    )


def read_split(dataset: Path, split: str) -> tuple[Images, Labels]:
    lines = (dataset / f"{split}_lst" / f"{split}.lst").read_text(encoding="utf-8").splitlines()
    images, labels = [], []
    for line in lines:
        _, label, path = line.split("\t")
        with Image.open(dataset / split / path) as image:
            images.append(np.asarray(image.convert("RGB"), dtype=np.uint8))
        labels.append(int(label))
    return np.stack(images), np.array(labels)


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """The expected calibration error over 15 bins of confidence (Guo et al., ICML 2017, equation 3)."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.ceil(confidence * BINS)
    return float(sum(abs((confidence - correct)[bins == number].sum()) for number in range(BINS + 1)) / len(labels))


def folds(images: Images, labels: Labels) -> Probabilities:
    """Probabilities by five-fold cross-validation: for all images, in each repetition."""
    repetitions = []
    for seed in range(REPEATS):
        part = np.random.default_rng(seed).permutation(len(images)) % FOLDS
        probabilities = np.zeros((len(images), 2))
        for number in range(FOLDS):
            held = part == number
            model = Model.train(images[~held], labels[~held], num_classes=2)
            probabilities[held] = model.predict(images[held])
        repetitions.append(probabilities)
    return np.concatenate(repetitions)


if __name__ == "__main__":
    main()
