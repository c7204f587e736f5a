"""Trains the model in SageMaker's scikit-learn container: `python3 /opt/ml/input/data/code/train.py`.

It finds the files of the job by its own place, and needs no variable, no network and no package that the container
does not have (https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html):

- `input/config/hyperparameters.json`: `num_classes`, and `num_training_samples`, the images of the channel `train`;
- `input/data`: the channels `train` and `validation` with images, `train_lst` and `validation_lst` with their labels,
  as the built-in Image Classification takes them;
- `model`: `model.npz`, and in `code` all of this folder, which serves it;
- `output/failure`: why there is no model. The exit status is 1.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from images import decode_image
from model import Model

HYPERPARAMETERS = ("num_classes", "num_training_samples")

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def main(root: Path) -> int:
    """Run the job whose files are below `root`, which is /opt/ml; returns the exit status."""
    try:
        accuracy = train(root)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        (root / "output").mkdir(exist_ok=True)
        (root / "output" / "failure").write_text(reason, encoding="utf-8")
        sys.stderr.write(f"{reason}\n")
        return 1
    sys.stdout.write(f"validation:accuracy={accuracy:.4f}\n")
    return 0


def train(root: Path) -> float:
    """Write the artifact; returns its accuracy on the validation images. Raises ValueError or OSError."""
    num_classes, num_training_samples = read_hyperparameters(root / "input" / "config" / "hyperparameters.json")
    data = root / "input" / "data"
    images, labels = read_channel(data, "train")
    if len(images) != num_training_samples:
        raise ValueError(f"num_training_samples is {num_training_samples}, the channel train has {len(images)} images")
    validation_images, validation_labels = read_channel(data, "validation")
    model = Model.train(images, labels, num_classes=num_classes)
    artifact = root / "model"
    (artifact / "code").mkdir(parents=True, exist_ok=True)
    model.save(artifact / "model.npz")
    for path in Path(__file__).parent.glob("*.py"):
        shutil.copyfile(path, artifact / "code" / path.name)
    return float(np.mean(model.predict(validation_images).argmax(axis=1) == validation_labels))


def read_hyperparameters(path: Path) -> tuple[int, ...]:
    """The values of HYPERPARAMETERS. SageMaker writes every value as a string. Raises ValueError."""
    values: dict[str, str] = json.loads(path.read_bytes())
    if unknown := sorted(values.keys() - set(HYPERPARAMETERS)):
        raise ValueError(f"hyperparameter {unknown[0]!r} is unknown: there are {' and '.join(HYPERPARAMETERS)}")
    numbers = []
    for name in HYPERPARAMETERS:
        if name not in values:
            raise ValueError(f"hyperparameter {name!r} is required")
        try:
            numbers.append(int(values[name]))
        except ValueError:
            raise ValueError(f"hyperparameter {name!r} must be a whole number, not {values[name]!r}") from None
    return tuple(numbers)


def read_channel(data: Path, name: str) -> tuple[Images, Labels]:
    """The images (n, 32, 32, 3) and labels (n,) that a channel's .lst files name; raises ValueError."""
    images, labels = [], []
    for lst in sorted((data / f"{name}_lst").rglob("*.lst")):
        for number, line in enumerate(lst.read_text(encoding="utf-8").splitlines(), 1):
            try:
                _, label, path = line.split("\t")
                labels.append(int(float(label)))
                images.append(decode_image((data / name / path).read_bytes()))
            except (ValueError, OSError) as error:
                raise ValueError(f"channel {name}: {lst.name}, line {number}, {line!r}: {error}") from error
    if not images:
        raise ValueError(f"channel {name}_lst has no .lst file that names an image")
    return np.stack(images), np.array(labels)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).absolute().parents[3]))
