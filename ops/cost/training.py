"""The cost of a model, the first one and each retraining, from jobs that are billed by the second."""

from collections.abc import Mapping
from dataclasses import dataclass

from ops.cost.methods import Assumptions
from ops.cost.quantities import Quantities, dollars, total
from stacks.config import EnvironmentConfig
from stacks.shared.algorithm import IMAGE_CLASSIFICATION, SCIKIT_LEARN

# Billable seconds by algorithm: from the download of the image to the upload of the artifact
TRAINING_SECONDS = {
    IMAGE_CLASSIFICATION.name: 450,  # public logs of the original's job on an ml.p3.2xlarge have 327 to 582
    # 12 s of CPU time, as docs/performance.md has it, and two minutes for what comes before, as in the log of
    # https://github.com/aws/amazon-sagemaker-examples/issues/1237
    SCIKIT_LEARN.name: 140,
}
# The validation channel: the official test images of two classes
_VALIDATION_IMAGES = 200


@dataclass(frozen=True)
class Run:
    """A training job and the jobs that follow it."""

    name: str
    jobs: Mapping[str, Quantities]  # by purpose

    def dollars(self, prices: Mapping[str, float]) -> float:
        return sum(dollars(quantities, prices) for quantities in self.jobs.values())


def runs(config: EnvironmentConfig, assume: Assumptions) -> list[Run]:
    """The first model with its baseline, and a retraining, which evaluates the candidate and the served model.

    Uses the first of `training.instance_types`; the job's seconds are assumed to be the same on each. The other states
    and functions of a retraining cost less than a cent.
    """
    training_type, transform_type = config.training.instance_types[0], config.bulk.transform_instance_type
    training = {f"sagemaker.instance_hour.{training_type}": TRAINING_SECONDS[config.algorithm.name] / 3600}
    seconds = assume.transform_start_seconds + _VALIDATION_IMAGES * assume.inference_seconds
    transform = {f"sagemaker.instance_hour.{transform_type}": seconds / 3600}
    return [
        Run("first model", {f"training on {training_type}": training, "baseline": transform}),
        Run("retraining", {f"training on {training_type}": training, "evaluation": total(transform, transform)}),
    ]
