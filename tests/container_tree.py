"""The file tree of SageMaker's containers below /opt/ml, and processes that run in it."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CODE = Path(__file__).parents[1] / "model_src"
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def striped(num_classes: int, count: int, seed: int) -> tuple[Images, Labels]:
    """Noisy stripes, level, upright or aslant by class, at random places."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % num_classes
    rows, columns = np.mgrid[:32, :32]
    directions = np.stack([rows, columns, rows + columns])[labels]
    waves = np.sin(directions + random.uniform(0, 6, (count, 1, 1)))
    noise = random.normal(0, 20, (count, 32, 32, 3))
    return np.clip(128 + 60 * waves[..., np.newaxis] + noise, 0, 255).astype(np.uint8), labels


def png(pixels: Images) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_job(root: Path, *, images: int = 8, **hyperparameters: str) -> Path:
    """Write the files that SageMaker writes below /opt/ml, here `root`, before the container starts."""
    values = {"num_classes": "2", "num_training_samples": str(images), **hyperparameters}
    (root / "input" / "config").mkdir(parents=True)
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(values))
    for seed, channel in enumerate(("train", "validation")):
        folder, lists = (root / "input" / "data" / name for name in (channel, f"{channel}_lst"))
        folder.mkdir(parents=True)
        lists.mkdir()
        lines = []
        for index, (pixels, label) in enumerate(zip(*striped(2, images, seed=seed), strict=True)):
            (folder / f"{index}.png").write_bytes(png(pixels))
            lines.append(f"{index}\t{label}\t{index}.png\n")
        (lists / f"{channel}.lst").write_text("".join(lines))
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CODE, root / "input" / "data" / "code", ignore=ignore)
    return root


def run_container(
    root: Path, *command: str, stdin: bytes = b"", **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command as in a container: it sees nothing of this project but the files below `root`."""
    environment = {"PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env=environment,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
    )


def train(folder: Path) -> None:
    """Run a training job's process in its own tree. Its output is in the file `log`."""
    root = write_job(folder)
    ended = run_container(root, str(root / "input" / "data" / "code" / "train.py"))
    assert ended.returncode == 0, ended.stderr
    (root / "log").write_bytes(ended.stdout)
