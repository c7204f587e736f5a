"""A monthly budget for the resources with the environment's tag. AWS notifies the alert topic, and stops nothing.

The tag `environment` must be active as a cost allocation tag of the account; costs before its activation do not count:
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/activating-tags.html
"""

from aws_cdk import Aws
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.config import EnvironmentConfig

# Percent of the limit
_NOTIFICATIONS = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))


def monthly_budget(
    scope: Construct, *, config: EnvironmentConfig, limit_usd: float, alert_topic: sns.ITopic
) -> budgets.CfnBudget:
    """Notify the topic when 80 % and 100 % are spent, and when the forecast exceeds the limit."""
    subscriber = budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=alert_topic.topic_arn)
    return budgets.CfnBudget(
        scope,
        "Budget",
        budget=budgets.CfnBudget.BudgetDataProperty(
            budget_name=f"{config.stage_name}_{Aws.REGION}",  # an account has one of a name, whatever the region
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=budgets.CfnBudget.SpendProperty(amount=limit_usd, unit="USD"),
            # https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_Budget.html
            cost_filters={"TagKeyValue": [f"user:environment${config.name}"]},
        ),
        notifications_with_subscribers=[
            budgets.CfnBudget.NotificationWithSubscribersProperty(
                notification=budgets.CfnBudget.NotificationProperty(
                    notification_type=kind,
                    comparison_operator="GREATER_THAN",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[subscriber],
            )
            for kind, percent in _NOTIFICATIONS
        ],
    )
