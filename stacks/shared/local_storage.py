"""Which instances bring disks of their own: SageMaker takes no key for those, as their hardware encrypts them.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html, VolumeKmsKeyId
"""

import re

from stacks.config import EndpointConfig

_FAMILIES = re.compile(r"g[4-9][a-z]*|p[4-9][a-z]*|trn\d+[a-z]*|[a-z]+\d+[a-z]*d[a-z]*")


def has_local_storage(instance_type: str) -> bool:
    """`ml.g4dn.xlarge` and `ml.m5d.large` have, `ml.m5.large` has not."""
    return bool(_FAMILIES.fullmatch(instance_type.split(".")[1]))


def volume_key(instance_type: str, key_arn: str) -> dict[str, str]:
    """What to put into a job's resources; nothing where there is no key, or no volume that takes one."""
    return {"VolumeKmsKeyId": key_arn} if key_arn and not has_local_storage(instance_type) else {}


def volume_key_of(config: EndpointConfig, key_arn: str | None) -> str | None:
    """The key of the instances' volumes, where there are volumes that take one."""
    if config.kind == "serverless" or has_local_storage(config.instance_type):
        return None
    return key_arn
