"""The containers that train and serve models, by their image's repository, with the variables that serving needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ACCURACY_METRIC = "validation:accuracy"  # the name that both algorithms' training jobs give it


@dataclass(frozen=True)
class Container:
    """A container image of SageMaker. Its repository has the same name in every region."""

    algorithm: str  # as `training.algorithm` of cdk.json names it
    repository: str
    serving_environment: Mapping[str, str] = field(default_factory=dict)


IMAGE_CLASSIFICATION = Container("image-classification", "image-classification")
# The artifact contains the code that serves it. If SAGEMAKER_PROGRAM named that code, the container would install it
# with pip, which fails without a network. docs/fidelity.md has the sources.
SCIKIT_LEARN = Container(
    "scikit-learn",
    "sagemaker-scikit-learn",
    {
        "SAGEMAKER_SERVING_MODULE": "inference:app",
        "PYTHONPATH": "/opt/ml/model/code",
        "OPENBLAS_NUM_THREADS": "1",  # the container's server already runs a process for each core
    },
)


def container_of(image: str) -> Container:
    """The container that an image URI belongs to; raises ValueError for another repository."""
    repository = image.rpartition("/")[2].partition(":")[0]
    for container in (IMAGE_CLASSIFICATION, SCIKIT_LEARN):
        if container.repository == repository:
            return container
    raise ValueError(
        f"{image} is the image of neither algorithm: its repository must be {IMAGE_CLASSIFICATION.repository} or "
        f"{SCIKIT_LEARN.repository}"
    )
