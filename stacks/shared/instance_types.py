"""The instance types that SageMaker has for each purpose: an endpoint runs on many that no transform job runs on."""

import difflib
from functools import cache
from typing import Literal

# By the names of the API's enumerations
Purpose = Literal["ProductionVariantInstanceType", "TrainingInstanceType", "TransformInstanceType"]
_IN_WORDS: dict[Purpose, str] = {
    "ProductionVariantInstanceType": "endpoints",
    "TrainingInstanceType": "training jobs",
    "TransformInstanceType": "transform jobs",
}


@cache
def instance_types(purpose: Purpose) -> tuple[str, ...]:
    """As botocore's model of the API lists them; reading it takes a tenth of a second."""
    from botocore.loaders import Loader  # noqa: PLC0415 - most commands configure no type and need not wait for it

    return tuple(Loader().load_service_model("sagemaker", "service-2")["shapes"][purpose]["enum"])


def check_instance_type(name: str, purpose: Purpose) -> str:
    """The name itself; raises ValueError with the nearest names if SageMaker has no such type for the purpose."""
    known = instance_types(purpose)
    if name not in known:
        nearest = ", ".join(difflib.get_close_matches(name, known, cutoff=0))
        raise ValueError(f"SageMaker has no such instance type for {_IN_WORDS[purpose]}; the nearest are {nearest}")
    return name
