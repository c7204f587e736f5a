"""Services that assume a role of ours, or publish to our topic: for this account only."""

from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_iam as iam


def of_this_account(service: str, resources: str = "*") -> iam.ServicePrincipal:
    """A service that acts for its resources of this account and region, such as `rule/*`, and not for anybody else's.

    For services that say for whom they act when they assume a role:
    https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html#prevent-cross-service-confused-deputy
    https://docs.aws.amazon.com/eventbridge/latest/userguide/cross-service-confused-deputy-prevention.html
    https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html
    """
    return iam.ServicePrincipal(
        f"{service}.amazonaws.com",
        conditions={
            "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
            "ArnLike": {"aws:SourceArn": f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resources}"},
        },
    )


def budgets_of_this_account() -> dict[str, Any]:
    """Conditions on AWS Budgets, whose budgets belong to no region.

    https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
    """
    return {
        "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
        "ArnLike": {"aws:SourceArn": f"arn:{Aws.PARTITION}:budgets::{Aws.ACCOUNT_ID}:*"},
    }
