"""A log group whose retention and removal follow the environment's configuration."""

from aws_cdk import Aws, Fn, RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.config import EnvironmentConfig


class LogGroup(logs.LogGroup):
    """The log group of a function, or of a state machine if one is named.

    A state machine's log group has the prefix for which CloudWatch Logs needs no resource policy of its own
    (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html). Its name contains the stack's id, so that a log
    group retained from an earlier deployment does not conflict with a new one.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        state_machine: str | None = None,
    ) -> None:
        name = None
        if state_machine:
            name = f"/aws/vendedlogs/states/{state_machine}-{Fn.select(2, Fn.split('/', Aws.STACK_ID))}"
        super().__init__(
            scope,
            construct_id,
            log_group_name=name,
            removal_policy=RemovalPolicy[config.removal_policy.upper()],
        )
        cfn_log_group = self.node.default_child
        assert isinstance(cfn_log_group, logs.CfnLogGroup)  # noqa: S101 - narrows the type
        cfn_log_group.retention_in_days = (
            config.log_retention_days
        )  # the L2 construct takes an enum instead of a number
