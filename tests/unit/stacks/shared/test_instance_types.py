"""Instance types that SageMaker has, but on which the algorithms' containers do not run."""

import ast
import importlib.metadata
from pathlib import Path

import pytest

from stacks.shared.instance_types import check_instance_type, instance_types

SDK = Path(str(importlib.metadata.distribution("sagemaker-core").locate_file("sagemaker")))
NAMES_BY_FAMILY = {name.split(".")[1]: name for name in instance_types("ProductionVariantInstanceType")}
# Families that the SDK does not list yet: https://aws.amazon.com/ec2/graviton/, and Grace
NEWER_ON_ARM = {"c8g", "m8g", "r7gd", "r8g", "p6e-gb200"}

NEED_COMPILED_MODELS = {"inf1", "inf2", "trn1", "trn1n", "trn2"}


def families_on_arm() -> set[str]:
    """Those for which the SDK refuses image-classification. It is read, because importing it takes seconds."""
    for statement in ast.parse((SDK / "core/fw_utils.py").read_text()).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="GRAVITON_ALLOWED_TARGET_INSTANCE_FAMILY")], value=families):
                return {*ast.literal_eval(families), *NEWER_ON_ARM}
    raise AssertionError("the SDK lists no families on Arm")


@pytest.mark.parametrize("family", sorted(NAMES_BY_FAMILY.keys() & families_on_arm()))
def test_an_endpoint_on_arm_is_refused_because_the_containers_are_for_x86(family: str) -> None:
    with pytest.raises(ValueError, match="the algorithms' containers are for x86 processors"):
        check_instance_type(NAMES_BY_FAMILY[family], "ProductionVariantInstanceType")


@pytest.mark.parametrize("family", sorted(NEED_COMPILED_MODELS))
def test_an_endpoint_on_chips_that_need_compiled_models_is_refused(family: str) -> None:
    with pytest.raises(ValueError, match="Inferentia and Trainium run only models that were compiled for them"):
        check_instance_type(NAMES_BY_FAMILY[family], "ProductionVariantInstanceType")


@pytest.mark.parametrize("family", sorted(NAMES_BY_FAMILY.keys() - families_on_arm() - NEED_COMPILED_MODELS))
def test_an_endpoint_on_any_other_is_not_refused(family: str) -> None:
    name = NAMES_BY_FAMILY[family]
    assert check_instance_type(name, "ProductionVariantInstanceType") == name
