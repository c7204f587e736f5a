"""Which instance types have local storage. SageMaker accepts no volume key for these: their hardware encrypts it.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html, VolumeKmsKeyId
"""

import re

from stacks.config import EndpointConfig

_FAMILIES = re.compile(r"g[4-9][a-z]*|p[4-9][a-z]*|trn\d+[a-z]*|[a-z]+\d+[a-z]*d[a-z]*")


def has_local_storage(instance_type: str) -> bool:
    """True for `ml.g4dn.xlarge` and `ml.m5d.large`, false for `ml.m5.large`."""
    return bool(_FAMILIES.fullmatch(instance_type.split(".")[1]))


def volume_key(instance_type: str, key_arn: str) -> dict[str, str]:
    """The member `VolumeKmsKeyId` for a job's resources; empty without a key, or if the type accepts none."""
    return {"VolumeKmsKeyId": key_arn} if key_arn and not has_local_storage(instance_type) else {}


def volume_key_of(config: EndpointConfig, key_arn: str | None) -> str | None:
    """The key for the volumes of the endpoint's instances; None if there is no volume that accepts one."""
    if config.kind == "serverless" or has_local_storage(config.instance_type):
        return None
    return key_arn
