"""The instance types that SageMaker supports for each purpose: endpoints support many that transform jobs do not."""

import difflib
import re
from functools import cache
from typing import Literal

# The names of the API's enumerations
Purpose = Literal["ProductionVariantInstanceType", "TrainingInstanceType", "TransformInstanceType"]
_IN_WORDS: dict[Purpose, str] = {
    "ProductionVariantInstanceType": "endpoints",
    "TrainingInstanceType": "training jobs",
    "TransformInstanceType": "transform jobs",
}
# Graviton, whose families have a g behind the number, and Grace
_ARM = re.compile(r"ml\.(\w+\dg[dn]?|.+-gb\d+)\.")


@cache
def instance_types(purpose: Purpose) -> tuple[str, ...]:
    """The types in botocore's model of the API, which takes a tenth of a second to read."""
    from botocore.loaders import Loader  # noqa: PLC0415 - most commands check no type and need not wait for it

    return tuple(Loader().load_service_model("sagemaker", "service-2")["shapes"][purpose]["enum"])


def check_instance_type(name: str, purpose: Purpose) -> str:
    """Return the name; raises ValueError if SageMaker has no such type for the purpose, or if it is not an x86 one.

    https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints-graviton.html
    """
    known = instance_types(purpose)
    if name not in known:
        nearest = ", ".join(difflib.get_close_matches(name, known, cutoff=0))
        raise ValueError(f"SageMaker has no such instance type for {_IN_WORDS[purpose]}; the nearest are {nearest}")
    if _ARM.match(name):
        raise ValueError(
            "the algorithms' containers are for x86 processors, not for Arm: choose another type, such as ml.m5.large"
        )
    return name
