"""Whether CloudFormation has, in the region, every type of resource that the configuration asks for.

Where it has not, it refuses the template with `Unrecognized resource types`, after it has made other stacks.
"""

from collections.abc import Iterator

from data_prep import target
from ops.check import Check
from stacks.config import EnvironmentConfig

# Regions without a type, of those that hold the built-in algorithm's container. Others that go with it may be missing
# there as well: tests/infrastructure/test_templates.py compares all types with CloudFormation's schemas
WITHOUT = {
    "AWS::Budgets::Budget": (
        "af-south-1 ap-east-1 ap-northeast-3 ap-south-2 ap-southeast-3 ap-southeast-4 ca-west-1 eu-central-2 "
        "eu-north-1 eu-south-1 eu-south-2 il-central-1 me-central-1 us-gov-east-1 us-gov-west-1"
    ),
    "AWS::SageMaker::DataQualityJobDefinition": (
        "af-south-1 ap-south-2 ap-southeast-3 ap-southeast-4 ca-west-1 cn-north-1 cn-northwest-1 eu-central-2 "
        "eu-south-1 eu-south-2 il-central-1 me-central-1 us-gov-east-1 us-gov-west-1"
    ),
    "AWS::SageMaker::Endpoint": "me-central-1 us-gov-east-1",
    "AWS::SageMaker::ModelPackageGroup": "ap-south-2 ap-southeast-4 cn-north-1 cn-northwest-1 us-gov-east-1",
}


def resource_types(config: EnvironmentConfig) -> Iterator[Check]:
    """A failed check for each type that the region lacks."""
    region = target.region()
    another = "set AWS_REGION to another region"
    fixes = {"AWS::SageMaker::Endpoint": another, "AWS::SageMaker::ModelPackageGroup": another}
    if config.monitoring.monthly_budget_usd:
        fixes["AWS::Budgets::Budget"] = "leave out monitoring.monthly_budget_usd in cdk.json, and make a budget by hand"
    if config.monitoring.sagemaker_model_monitor:
        fixes["AWS::SageMaker::DataQualityJobDefinition"] = "leave out monitoring.sagemaker_model_monitor in cdk.json"
    for name, fix in fixes.items():
        if region in WITHOUT[name].split():
            yield Check(name, "failed", f"CloudFormation does not have it in {region}", fix)
