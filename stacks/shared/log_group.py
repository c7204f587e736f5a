"""A log group as every environment keeps it."""

from aws_cdk import Aws, Fn, RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.config import EnvironmentConfig


class LogGroup(logs.LogGroup):
    """Retention and removal follow the configuration.

    That of a state machine has the prefix for which CloudWatch Logs needs no policy of its own for each group
    (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html), and the stack's id in its name: a group that is
    kept does not stand in the way when the environment is deployed again.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        state_machine: str | None = None,
    ) -> None:
        stack_id = Fn.select(2, Fn.split("/", Aws.STACK_ID))
        super().__init__(
            scope,
            construct_id,
            log_group_name=f"/aws/vendedlogs/states/{state_machine}-{stack_id}" if state_machine else None,
            removal_policy=RemovalPolicy[config.removal_policy.upper()],
        )
        cfn_log_group = self.node.default_child
        assert isinstance(cfn_log_group, logs.CfnLogGroup)  # noqa: S101 - narrows the type
        cfn_log_group.retention_in_days = config.log_retention_days  # the L2 has an enum of names instead
