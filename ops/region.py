"""Checks that CloudFormation supports, in the region, every resource type that the configuration needs.

Otherwise it refuses the template with `Unrecognized resource types`, after it has created other stacks.
"""

from collections.abc import Iterator

from data_prep import target
from ops.check import Check
from stacks.config import EnvironmentConfig

# The regions that do not support a type, of those with the built-in algorithm's container. Related types may be missing
# there too: tests/infrastructure/test_templates.py compares all types with CloudFormation's schemas
WITHOUT = {
    "AWS::Budgets::Budget": (
        "af-south-1 ap-east-1 ap-northeast-3 ap-south-2 ap-southeast-3 ap-southeast-4 ca-west-1 eu-central-2 "
        "eu-north-1 eu-south-1 eu-south-2 il-central-1 me-central-1 us-gov-east-1 us-gov-west-1"
    ),
    "AWS::SageMaker::Endpoint": "me-central-1 us-gov-east-1",
    "AWS::SageMaker::ModelPackageGroup": "ap-south-2 ap-southeast-4 cn-north-1 cn-northwest-1 us-gov-east-1",
}


def resource_types(config: EnvironmentConfig) -> Iterator[Check]:
    """A failed check for each type that the region does not support."""
    region = target.region()
    another = "set AWS_REGION to another region"
    fixes = {"AWS::SageMaker::Endpoint": another, "AWS::SageMaker::ModelPackageGroup": another}
    if config.monitoring.monthly_budget_usd:
        fixes["AWS::Budgets::Budget"] = (
            "remove monitoring.monthly_budget_usd from cdk.json, and create a budget by hand"
        )
    for name, fix in fixes.items():
        if region in WITHOUT[name].split():
            yield Check(name, "failed", f"CloudFormation does not support it in {region}", fix)
