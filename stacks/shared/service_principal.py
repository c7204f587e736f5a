"""Service principals that may assume a role or publish to the topic on behalf of this account only."""

from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_iam as iam


def of_this_account(service: str, resources: str = "*") -> iam.ServicePrincipal:
    """A service that acts for its resources in this account and region, such as `rule/*`, and for no others.

    Only for services that send these condition keys when they assume a role:
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
    """The same conditions for AWS Budgets, whose ARNs have no region.

    https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
    """
    return {
        "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
        "ArnLike": {"aws:SourceArn": f"arn:{Aws.PARTITION}:budgets::{Aws.ACCOUNT_ID}:*"},
    }
