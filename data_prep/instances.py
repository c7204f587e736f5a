"""The instance types that a model may be trained on: in order of preference, without those that were refused.

A job can also be given a list of types (`ResourceConfig.InstancePreferences`), but then SageMaker asks for the quota of
each of them, and takes no spot job:
https://docs.aws.amazon.com/sagemaker/latest/dg/train-instance-preferences.html
"""

from collections.abc import Callable
from textwrap import shorten

from data_prep.errors import TrainingError
from stacks.config import TrainingConfig
from stacks.shared.algorithm import ALGORITHMS, WITHOUT_GPU

_MAX_REASON = 300  # an unknown type is refused with a list of all known ones


class InstanceTypes:
    """Which type to try next; says why it is not the one before."""

    def __init__(self, config: TrainingConfig, say: Callable[[str], None]) -> None:
        self._types = config.instance_types
        self._algorithm = config.algorithm
        self._kind = "spot training job" if config.spot else "training job"
        self._say = say
        self._refused: dict[str, str] = {}

    @property
    def current(self) -> str:
        """The first that was not refused."""
        return next(name for name in self._types if name not in self._refused)

    def refuse(self, instance_type: str, reason: str) -> None:
        """Go on to the next; raises TrainingError if there is none."""
        self._refused[instance_type] = shorten(reason, _MAX_REASON)
        if self._refused.keys() >= set(self._types):
            reasons = "".join(f"\n{name}: {why}" for name, why in self._refused.items())
            otherwise = f"\nOr {WITHOUT_GPU}." if ALGORITHMS[self._algorithm].needs_gpu else ""
            raise TrainingError(
                f"none of the instance types that training.instance_types in cdk.json names can be had:{reasons}\n"
                f'Ask for a quota, such as "{self._types[0]} for {self._kind} usage" under Service Quotas, Amazon '
                "SageMaker (new accounts have 0), or name other types; where AWS has no capacity, try again later."
                f"{otherwise}"
            )
        self._say(f"{instance_type} cannot be had ({self._refused[instance_type]}): trying {self.current}")
