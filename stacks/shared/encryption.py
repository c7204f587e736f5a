"""Encryption with the environment's own KMS key, if `customer_managed_key` is set.

Only what this file names may use the key: the services that write logs, alarms and inventories, and the roles that may
already read or write what the key protects. Losing access to the bucket also removes access to the key.
"""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws, RemovalPolicy, Stack, Stage
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs

from stacks.config import EnvironmentConfig
from stacks.shared.service_principal import budgets_of_this_account

# For each action, the service through which it uses the key, and the permissions on the key that it needs
_KEY_ACTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "s3:GetObject": ("s3", ("kms:Decrypt",)),
    "s3:PutObject": ("s3", ("kms:GenerateDataKey",)),
    # S3 decrypts the parts of a multipart upload to combine them
    "s3:ListMultipartUploadParts": ("s3", ("kms:Decrypt",)),
    "sns:Publish": ("sns", ("kms:Decrypt", "kms:GenerateDataKey")),
}


def environment_key(scope: Stack, *, config: EnvironmentConfig) -> kms.Key:
    """The key for the bucket, the topic, the logs and SageMaker's volumes."""
    key = kms.Key(
        scope,
        "Key",
        description=f"Scones Unlimited {config.name}: data, alerts and logs",
        enable_key_rotation=True,
        removal_policy=RemovalPolicy[config.removal_policy.upper()],
    )
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="LogsOfThisEnvironment",
            principals=[iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
            actions=["kms:Decrypt", "kms:Describe*", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            resources=["*"],  # in a key policy this means the key itself
            conditions={
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": [
                        f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:{name}"
                        for name in (f"{config.stage_name}-*", f"/aws/vendedlogs/states/{config.stage_name}-*")
                    ]
                }
            },
        )
    )
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="AlarmsOfThisAccount",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["kms:Decrypt", "kms:GenerateDataKey*"],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
    if config.monitoring.monthly_budget_usd:
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="BudgetsOfThisAccount",
                principals=[iam.ServicePrincipal("budgets.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions=budgets_of_this_account(),
            )
        )
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="InventoriesOfThisEnvironment",
            principals=[iam.ServicePrincipal("s3.amazonaws.com")],
            actions=["kms:GenerateDataKey"],
            resources=["*"],
            conditions={
                "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                # By the prefix of its name: the bucket needs the key, so the key must exist first
                "ArnLike": {"aws:SourceArn": f"arn:{Aws.PARTITION}:s3:::{config.stage_name}-*"},
            },
        )
    )
    return key


def let_services_encrypt_volumes(key: kms.IKey) -> iam.PolicyStatement:
    """Allows a role that starts instances with encrypted volumes to grant the key to the service that runs them."""
    return iam.PolicyStatement(
        sid="EncryptVolumes",
        actions=["kms:CreateGrant"],
        resources=[key.key_arn],
        conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
    )


def encrypt(stage: Stage, *, key: kms.IKey) -> None:
    """Encrypt the logs of all stacks, and allow each role to use the key for what it may already read and write."""
    for construct in stage.node.find_all():
        if isinstance(construct, logs.CfnLogGroup):
            construct.kms_key_id = key.key_arn
        elif isinstance(construct, iam.Policy | iam.ManagedPolicy):
            _allow_use(construct, key)


def _allow_use(policy: iam.Policy | iam.ManagedPolicy, key: kms.IKey) -> None:
    allowed = {action for statement in _statements(policy) for action in _actions(statement)}
    for service in ("s3", "sns"):
        uses = [needed for action, (of, needed) in _KEY_ACTIONS.items() if of == service and action in allowed]
        if uses:
            policy.add_statements(
                iam.PolicyStatement(
                    sid=f"UseKeyFor{service.upper()}",
                    actions=sorted({action for needed in uses for action in needed}),
                    resources=[key.key_arn],
                    conditions={"StringEquals": {"kms:ViaService": f"{service}.{Aws.REGION}.amazonaws.com"}},
                )
            )


def _statements(policy: iam.Policy | iam.ManagedPolicy) -> list[dict[str, Any]]:
    document = Stack.of(policy).resolve(policy.document)
    return list(document["Statement"])


def _actions(statement: dict[str, Any]) -> list[str]:
    actions = statement["Action"]
    return actions if isinstance(actions, list) else [actions]
