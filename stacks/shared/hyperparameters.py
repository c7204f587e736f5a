"""What determines a model besides its data: a training job's hyperparameters, and the code that it runs."""

import difflib
import hashlib
import json

from stacks.config import ConfigError, EnvironmentConfig
from stacks.shared.model_code import code_digest

_FROM_DATA_SET = {"num_classes", "num_training_samples"}


def hyperparameters(config: EnvironmentConfig) -> dict[str, str]:
    """The environment's preset with its overrides. All values are strings, as the API requires.

    `num_training_samples` is not included, because it depends on the data set. Raises ConfigError.
    """
    algorithm, training = config.algorithm, config.training
    if training.preset not in algorithm.presets:
        raise ConfigError(
            f"environment {config.name!r}: training.preset = {training.preset!r}: {algorithm.name} has "
            f"{' and '.join(algorithm.presets)} only"
        )
    overrides = {name: str(value) for name, value in training.hyperparameters.items()}
    for name in overrides:
        where = f"environment {config.name!r}: training.hyperparameters.{name}"
        if name in _FROM_DATA_SET:
            raise ConfigError(f"{where}: follows from the data set; remove it")
        if name not in algorithm.hyperparameter_names:
            known = sorted(algorithm.hyperparameter_names)
            nearest = " or ".join(difflib.get_close_matches(name, known)) or ", ".join(known)
            hint = f"did you mean {nearest}?" if known else "it has none to set"
            raise ConfigError(f"{where}: {algorithm.name} has no such hyperparameter; {hint}")
    values = {**algorithm.presets[training.preset], **overrides, "num_classes": str(len(config.classes))}
    if "epochs" in values:
        values.setdefault("lr_scheduler_step", _halfway_and_three_quarters(values["epochs"]))
    return {name: value for name, value in sorted(values.items()) if value}


def parameters_digest(config: EnvironmentConfig) -> str:
    """Eight hexadecimal digits that identify everything that determines the model, besides its data.

    The instance type is not included: it does not change the model.
    """
    algorithm = config.algorithm
    decisive = [
        f"{algorithm.container.repository}:{algorithm.tag}",
        hyperparameters(config),
        *([code_digest()] if algorithm.takes_code else []),
    ]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]


def _halfway_and_three_quarters(epochs: str) -> str:
    """The epochs after which the learning rate falls, as in the paper; empty if there are too few epochs for both."""
    count = int(epochs) if epochs.isdecimal() else 0
    return f"{count // 2},{count * 3 // 4}" if count >= 4 else ""
