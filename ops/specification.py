"""Reads CloudFormation's specification: whether a change of a property replaces its resource.

It is part of the CDK command line, which package.json pins, and which uses it for `cdk diff`:
https://github.com/cdklabs/awscdk-service-spec
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ops.cdk import EXECUTABLE
from ops.errors import OpsError

DATABASE = EXECUTABLE.parent.parent / "aws-cdk" / "db.json.gz"


@dataclass(frozen=True)
class ResourceType:
    replacing: Mapping[str, str]  # "yes" or "maybe" for the properties whose change replaces the resource
    is_stateful: bool = False


@cache
def resource_types() -> dict[str, ResourceType]:
    """All resource types by name, such as AWS::S3::Bucket. Raises OpsError if the tools are not installed."""
    if not DATABASE.exists():
        raise OpsError(f"{DATABASE} is missing: run `make setup`")
    with gzip.open(DATABASE) as file:
        entities = json.load(file)["schema"]["resource"]["entities"]
    return {
        entity["cloudFormationType"]: ResourceType(
            replacing={
                name: specification["causesReplacement"]
                for name, specification in entity["properties"].items()
                if specification.get("causesReplacement", "no") != "no"
            },
            is_stateful=entity.get("isStateful", False),
        )
        for entity in entities
    }
