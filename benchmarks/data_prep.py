"""From an archive of CIFAR-100's size to PNG and .lst: `python -m benchmarks.data_prep`.

Beside `data_prep build` it measures, each in a process of its own,
- the floor: one streaming decompression, one unpickling, bare PNG encoding of the same pixels with the same settings,
- the notebook: extract all to disk, load the whole pickle, filter with a DataFrame, matplotlib's imsave per row;
  it is left out unless pandas and matplotlib are installed.
"""

import importlib.util
import pickle
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from data_prep.build import build_dataset
from data_prep.cifar import write_archive
from data_prep.images import encode_png
from stacks.config import PROJECT_ROOT
from stacks.shared.cifar_100 import CLASS_NAMES

ROWS = {"train": 50_000, "test": 10_000}
GENERATED = PROJECT_ROOT / "build" / "benchmarks" / "official-size.tar.gz"


def generate(path: Path) -> None:
    """An archive of the official size: smooth random images with noise, which compress about like photographs."""
    random = np.random.default_rng(0)
    splits = {}
    for split, count in ROWS.items():
        coarse = random.integers(0, 256, (count, 4, 4, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
        pixels = coarse // 2 + random.integers(0, 64, coarse.shape, np.uint8)
        labels = [row % len(CLASS_NAMES) for row in range(count)]
        splits[split] = ([f"generated_s_{row:06d}.png" for row in range(count)], labels, pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_archive(path, class_names=CLASS_NAMES, splits=splits)


def ours(archive: Path, folder: Path, classes: tuple[str, ...]) -> dict[str, float]:
    started, stages = time.perf_counter(), dict[str, float]()

    def clock(stage: str, _done: int, _total: int) -> None:
        stages[stage] = time.perf_counter()

    build_dataset(archive, folder / "data", classes=classes, progress=clock)
    times = {}
    for stage, ended in stages.items():
        times[stage] = ended - started
        started = ended
    return times | {"Replacing the folder": time.perf_counter() - started}


def floor(archive: Path, _folder: Path, classes: tuple[str, ...]) -> dict[str, float]:
    labels = {CLASS_NAMES.index(name) for name in classes}
    started = time.perf_counter()
    batches = []
    with tarfile.open(archive, "r|gz", bufsize=1 << 16) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content and member.name.endswith(("/train", "/test")):
                batches.append(pickle.load(content, encoding="bytes"))  # noqa: S301 - our own archive, or the caller's
    read = time.perf_counter()
    for batch in batches:
        for row, label in enumerate(batch[b"fine_labels"]):
            if label in labels:
                encode_png(np.ascontiguousarray(batch[b"data"][row].reshape(3, 32, 32).transpose(1, 2, 0)))
    return {"Decompressing, unpickling": read - started, "Encoding": time.perf_counter() - read}


def notebook(archive: Path, folder: Path, classes: tuple[str, ...]) -> dict[str, float]:
    import matplotlib.pyplot as plt  # noqa: PLC0415 - not among the project's dependencies
    import pandas as pd  # noqa: PLC0415

    def load(name: str) -> Any:
        with (folder / "cifar-100-python" / name).open("rb") as file:
            return pickle.load(file, encoding="bytes")  # noqa: S301 - as in the notebook

    started = time.perf_counter()
    with tarfile.open(archive, "r:gz") as tar:
        tar.extractall(folder, filter="data")
    extracted = time.perf_counter()
    for split in ROWS:
        batch = load(split)
        labels = batch[b"fine_labels"]
        frame = pd.DataFrame({"filenames": batch[b"filenames"], "labels": labels, "row": range(len(labels))})
        frame = frame[frame["labels"].isin([CLASS_NAMES.index(name) for name in classes])]
        (folder / split).mkdir()
        for name, row in zip(frame["filenames"], frame["row"], strict=True):
            flat = batch[b"data"][row]
            image = np.dstack(
                (flat[0:1024].reshape(32, 32), flat[1024:2048].reshape(32, 32), flat[2048:].reshape(32, 32))
            )
            plt.imsave(folder / split / name.decode(), image)
    return {"Extracting": extracted - started, "Loading, filtering, saving": time.perf_counter() - extracted}


METHODS: dict[str, Callable[[Path, Path, tuple[str, ...]], dict[str, float]]] = {
    "data_prep build": ours,
    "floor": floor,
    "the notebook": notebook,
}


def measure(method: str, archive: Path, classes: tuple[str, ...], parent: Path) -> tuple[dict[str, float], int]:
    """The time of each stage in seconds, and the peak memory of the process in bytes; the best of three runs."""
    runs = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            command = [sys.executable, "-m", "benchmarks.data_prep", "--method", method, str(archive), folder, *classes]
            result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PROJECT_ROOT)
        *stages, memory = result.stdout.splitlines()
        times = {name: float(seconds) for name, seconds in (line.split("\t") for line in stages)}
        runs.append((times, int(memory)))
    return min(runs, key=lambda run: sum(run[0].values()))


def run_one(method: str, archive: str, folder: str, *classes: str) -> None:
    """In a child process: one method, once; writes a line per stage and one with the peak memory."""
    for stage, seconds in METHODS[method](Path(archive), Path(folder), classes).items():
        print(f"{stage}\t{seconds}")
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def main(
    archive: Annotated[
        Path | None, typer.Option(help="An archive of CIFAR-100's size; generated if not given.")
    ] = None,
    classes: Annotated[int, typer.Option(min=2, max=100, help="How many classes; 2 are bicycle, motorcycle.")] = 2,
    folder: Annotated[
        Path, typer.Option(help="Where the images go; a memory file system leaves the time of the disk out.")
    ] = GENERATED.parent,
) -> None:
    """Measure `data_prep build`, its floor and the notebook."""
    GENERATED.parent.mkdir(parents=True, exist_ok=True)
    if archive is None:
        archive = GENERATED
        if not archive.exists():
            # Not in this process: on Linux, measured processes inherit its peak memory
            subprocess.run([sys.executable, "-m", "benchmarks.data_prep", "--generate", str(archive)], check=True)
    rest = [name for name in CLASS_NAMES if name not in {"bicycle", "motorcycle"}]
    names = ("bicycle", "motorcycle", *rest[: classes - 2])
    with tarfile.open(archive) as tar:
        largest = max(member.size for member in tar)
    images = sum(ROWS.values()) * classes // len(CLASS_NAMES)
    print(f"{archive.name}: {archive.stat().st_size:,} bytes, largest member {largest:,}; {images:,} images, best of 3")
    totals = {}
    for method in METHODS:
        if method == "the notebook" and not all(map(importlib.util.find_spec, ("pandas", "matplotlib"))):
            print(f"{method}: left out, pandas and matplotlib are not installed")
            continue
        times, memory = measure(method, archive, names, folder)
        totals[method] = sum(times.values())
        print(
            f"{method}: {totals[method]:.2f} s, {images / totals[method]:,.0f} images/s, "
            f"peak memory {memory / 1e6:,.0f} MB = {memory / largest:.2f} of the largest member"
        )
        for stage, seconds in times.items():
            print(f"    {stage:32} {seconds:6.2f} s")
    own = totals.pop("data_prep build")
    for method, total in totals.items():
        print(f"data_prep build / {method}: {own / total:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--generate"]:
        generate(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--method"]:
        run_one(*sys.argv[2:])
    else:
        typer.run(main)
