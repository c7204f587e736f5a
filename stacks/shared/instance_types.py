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
_UNFIT = {
    # Graviton, whose families have a g behind the number, and Grace
    # https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints-graviton.html
    r"ml\.(\w+\dg[dn]?|.+-gb\d+)\.": "the algorithms' containers are for x86 processors, not for Arm",
    # Nor would alarms watch the updates of an endpoint on Inf1
    # https://docs.aws.amazon.com/sagemaker/latest/dg/neo-deployment-hosting-services.html
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
    r"ml\.(inf|trn)\d": "Inferentia and Trainium run only models that were compiled for them, which no algorithm's is",
}


@cache
def instance_types(purpose: Purpose) -> tuple[str, ...]:
    """The types in botocore's model of the API, which takes a tenth of a second to read."""
    from botocore.loaders import Loader  # noqa: PLC0415 - most commands check no type and need not wait for it

    return tuple(Loader().load_service_model("sagemaker", "service-2")["shapes"][purpose]["enum"])


def check_instance_type(name: str, purpose: Purpose) -> str:
    """Return the name; raises ValueError if SageMaker has no such type for the purpose, or no algorithm runs on it."""
    known = instance_types(purpose)
    if name not in known:
        nearest = ", ".join(difflib.get_close_matches(name, known, cutoff=0))
        raise ValueError(f"SageMaker has no such instance type for {_IN_WORDS[purpose]}; the nearest are {nearest}")
    for pattern, reason in _UNFIT.items():
        if re.match(pattern, name):
            raise ValueError(f"{reason}: choose another type, such as ml.m5.large")
    return name
