"""A log group as every environment keeps it."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.config import EnvironmentConfig


class LogGroup(logs.LogGroup):
    """Retention and removal follow the configuration."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        log_group_name: str | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            log_group_name=log_group_name,
            removal_policy=RemovalPolicy[config.removal_policy.upper()],
        )
        cfn_log_group = self.node.default_child
        assert isinstance(cfn_log_group, logs.CfnLogGroup)  # noqa: S101 - narrows the type
        cfn_log_group.retention_in_days = config.log_retention_days  # the L2 has an enum of names instead
