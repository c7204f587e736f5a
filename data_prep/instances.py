"""Selects the instance type for training: the first in order of preference that has not been refused.

A job can also have a list of types (`ResourceConfig.InstancePreferences`), but then SageMaker requires a quota for each
of them, and does not support spot capacity:
https://docs.aws.amazon.com/sagemaker/latest/dg/train-instance-preferences.html
"""

from collections.abc import Callable
from textwrap import shorten

from data_prep.errors import TrainingError
from stacks.config import TrainingConfig
from stacks.shared.algorithm import ALGORITHMS, WITHOUT_GPU

_MAX_REASON = 300  # the refusal of an unknown type lists all known ones


class InstanceTypes:
    """The type to try next; `say` is called with the reason for each change."""

    def __init__(self, config: TrainingConfig, say: Callable[[str], None]) -> None:
        self._types = config.instance_types
        self._algorithm = config.algorithm
        self._kind = "spot training job" if config.spot else "training job"
        self._say = say
        self._refused: dict[str, str] = {}

    @property
    def current(self) -> str:
        """The first type that has not been refused."""
        return next(name for name in self._types if name not in self._refused)

    def refuse(self, instance_type: str, reason: str) -> None:
        """Continue with the next type; raises TrainingError if there is none."""
        self._refused[instance_type] = shorten(reason, _MAX_REASON)
        if self._refused.keys() >= set(self._types):
            reasons = "".join(f"\n{name}: {why}" for name, why in self._refused.items())
            otherwise = f"\nOr {WITHOUT_GPU}." if ALGORITHMS[self._algorithm].needs_gpu else ""
            raise TrainingError(
                f"none of training.instance_types in cdk.json is available:{reasons}\n"
                f'Ask for a quota, such as "{self._types[0]} for {self._kind} usage" under Service Quotas, Amazon '
                "SageMaker (new accounts have 0), or name other types; if AWS has no capacity, try again later."
                f"{otherwise}"
            )
        self._say(f"{instance_type} is not available ({self._refused[instance_type]}): trying {self.current}")
