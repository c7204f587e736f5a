"""The interface of the built-in Image Classification, implemented with this project's own model.

Requests, responses, channels and the files of the artifact are those of the algorithm
(https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html). Instead of its network, the entry points of
`model_src` run, as in the scikit-learn container.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from lambda_src.shared.algorithms import ACCURACY_METRIC
from local.sagemaker.errors import JobFailedError
from stacks.config import PROJECT_ROOT
from stacks.shared.algorithm import SCIKIT_LEARN

CODE = PROJECT_ROOT / "model_src"
ENTRYPOINT = ("python3", "/opt/ml/input/data/code/train.py")
METRICS = [{"Name": ACCURACY_METRIC, "Regex": SCIKIT_LEARN.metric}]
_CHANNELS = {"train", "train_lst", "validation", "validation_lst"}
_DEFAULT_MINI_BATCH_SIZE = "32"
_PARAMETERS = "image-classification-0000.params"
_OTHER_FILES = {
    "image-classification-symbol.json": {"nodes": [], "heads": [], "attrs": {"framework": "local stand-in"}},
    "model-shapes.json": [{"shape": [1, 3, 32, 32], "name": "data"}],
}


def check_channels(names: set[str]) -> None:
    """Raise JobFailedError unless all channels that the algorithm needs exist."""
    if missing := _CHANNELS - names:
        raise JobFailedError(f"ClientError: missing channel {', '.join(sorted(missing))}")


def own_hyperparameters(values: Mapping[str, str]) -> dict[str, str]:
    """The hyperparameters that our model shares; raises JobFailedError for those that the algorithm would refuse."""
    own = {name: values[name] for name in ("num_classes", "num_training_samples") if name in values}
    try:
        batch = int(values.get("mini_batch_size", _DEFAULT_MINI_BATCH_SIZE))
        samples = int(own.get("num_training_samples", batch))
    except ValueError as error:
        raise JobFailedError(f"ClientError: hyperparameter: {error}") from None
    if batch > samples:
        raise JobFailedError(f"ClientError: mini_batch_size {batch} is above num_training_samples {samples}")
    return own


def disguise(artifact: Path) -> None:
    """Rename the files of our model to the algorithm's names."""
    (artifact / "model.npz").rename(artifact / _PARAMETERS)
    shutil.rmtree(artifact / "code")
    for name, content in _OTHER_FILES.items():
        (artifact / name).write_text(json.dumps(content), encoding="utf-8")


def reveal(artifact: Path) -> None:
    """The reverse of `disguise`; raises FileNotFoundError for an artifact of the algorithm itself."""
    (artifact / _PARAMETERS).rename(artifact / "model.npz")
    copy_code(artifact / "code")


def copy_code(folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in CODE.glob("*.py"):
        shutil.copyfile(path, folder / path.name)
