"""What serves a model: the container that trained it, told by its image, with the variables that this one needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ACCURACY_METRIC = "validation:accuracy"  # of a training job, by either algorithm


@dataclass(frozen=True)
class Container:
    """A container of SageMaker's, by the name of its image's repository, which is the same in every region."""

    algorithm: str  # as `training.algorithm` of cdk.json names it
    repository: str
    serving_environment: Mapping[str, str] = field(default_factory=dict)


IMAGE_CLASSIFICATION = Container("image-classification", "image-classification")
# The artifact brings the code that serves it. As SAGEMAKER_PROGRAM, the container would install it with pip, for which
# a model without network has none: docs/fidelity.md has the sources
SCIKIT_LEARN = Container(
    "scikit-learn",
    "sagemaker-scikit-learn",
    {
        "SAGEMAKER_SERVING_MODULE": "inference:app",
        "PYTHONPATH": "/opt/ml/model/code",
        "OPENBLAS_NUM_THREADS": "1",  # its server has a process for each core already
    },
)


def container_of(image: str) -> Container:
    """Whose image it is; raises ValueError for one of another repository."""
    repository = image.rpartition("/")[2].partition(":")[0]
    for container in (IMAGE_CLASSIFICATION, SCIKIT_LEARN):
        if container.repository == repository:
            return container
    raise ValueError(
        f"{image} is the image of neither algorithm: its repository must be {IMAGE_CLASSIFICATION.repository} or "
        f"{SCIKIT_LEARN.repository}"
    )
