"""The instance types that SageMaker supports for each purpose: endpoints support many that transform jobs do not."""

import difflib
from functools import cache
from typing import Literal

# The names of the API's enumerations
Purpose = Literal["ProductionVariantInstanceType", "TrainingInstanceType", "TransformInstanceType"]
_IN_WORDS: dict[Purpose, str] = {
    "ProductionVariantInstanceType": "endpoints",
    "TrainingInstanceType": "training jobs",
    "TransformInstanceType": "transform jobs",
}


@cache
def instance_types(purpose: Purpose) -> tuple[str, ...]:
    """The types in botocore's model of the API, which takes a tenth of a second to read."""
    from botocore.loaders import Loader  # noqa: PLC0415 - most commands check no type and need not wait for it

    return tuple(Loader().load_service_model("sagemaker", "service-2")["shapes"][purpose]["enum"])


def check_instance_type(name: str, purpose: Purpose) -> str:
    """Return the name; raises ValueError with the most similar names if SageMaker has no such type for the purpose."""
    known = instance_types(purpose)
    if name not in known:
        nearest = ", ".join(difflib.get_close_matches(name, known, cutoff=0))
        raise ValueError(f"SageMaker has no such instance type for {_IN_WORDS[purpose]}; the nearest are {nearest}")
    return name
