"""A Lambda function of this project: its code, its limits, and a role that may only write to its own log group."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, IgnoreMode
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.config import FUNCTIONS_UNDER_LOAD, PROJECT_ROOT, EnvironmentConfig
from stacks.shared.log_group import LogGroup
from stacks.shared.scanner_exceptions import acknowledge

_SOURCES = PROJECT_ROOT / "lambda_src"

# S3 refuses a write under this condition unless the request has If-None-Match, which never overwrites an object
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
IF_NEW = {"Null": {"s3:if-none-match": "false"}}
# The same for If-Match, which overwrites an object only if it is still the one that was read
IF_UNCHANGED = {"Null": {"s3:if-match": "false"}}


class Function(lambda_.Function):
    """Runs `lambda_src/CAPABILITY/<construct id in snake_case>.py`.

    Its package contains only that capability and `shared`, so a change in another capability does not change it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        environment: Mapping[str, str] | None = None,
        memory_mb: int = 256,  # little, because a function mostly waits, and waiting is billed by memory
        # Above the bounded retries of lambda_src/shared/aws.py, and below the state's time-out
        timeout: Duration | None = None,
        # For a function that events invoke: it keeps those for which the function fails
        dead_letters: sqs.IQueue | None = None,
    ) -> None:
        log_group = LogGroup(scope, f"{construct_id}Logs", config=config)
        role = iam.Role(scope, f"{construct_id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        is_under_load = construct_id in FUNCTIONS_UNDER_LOAD
        module = "".join(f"_{c.lower()}" if c.isupper() else c for c in construct_id).lstrip("_")
        ((capability, _),) = (path.relative_to(_SOURCES).parts for path in _SOURCES.glob(f"*/{module}.py"))
        super().__init__(
            scope,
            construct_id,
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            code=_code_of(capability),
            handler=f"lambda_src.{capability}.{module}.handler",
            role=role,
            environment={"METRIC_NAMESPACE": config.metric_namespace, **(environment or {})},
            memory_size=memory_mb,
            timeout=timeout or Duration.seconds(15),
            logging_format=lambda_.LoggingFormat.JSON,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            dead_letter_queue=dead_letters,
            reserved_concurrent_executions=config.function_concurrency if is_under_load else None,
        )
        self._acknowledge(is_under_load=is_under_load, has_dead_letters=dead_letters is not None)

    def _acknowledge(self, *, is_under_load: bool, has_dead_letters: bool) -> None:
        """Acknowledge the scanners' findings that do not apply to a function of this project."""
        exceptions = {}
        if not is_under_load:
            exceptions["LambdaConcurrency CKV_AWS_115"] = (
                "Runs once per execution, hour or release: a reservation would only reduce the account's free quota"
            )
        if not has_dead_letters:
            exceptions["LambdaDLQ CKV_AWS_116"] = (
                "Its state machine handles its errors, or an alarm watches the schedule that invokes it"
            )
        exceptions["LambdaInsideVPC CKV_AWS_117"] = (
            "Calls only AWS APIs that its role allows; there is nothing in a VPC that it needs"
        )
        exceptions["CKV_AWS_173"] = "The variables hold names and numbers, and no secrets"
        acknowledge(self, exceptions)

    def allow(
        self,
        actions: Sequence[str],
        resources: Sequence[str],
        *,
        conditions: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.add_to_role_policy(
            iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)
        )


def _code_of(capability: str) -> lambda_.Code:
    """The folders of the capability and of `shared`, below the root: the modules import each other as lambda_src.*"""
    return lambda_.Code.from_asset(
        str(PROJECT_ROOT),
        exclude=[
            "/*",
            "!/lambda_src",
            "/lambda_src/*",
            *(f"!/lambda_src/{name}" for name in ("__init__.py", capability, "shared")),
            "__pycache__",
        ],
        ignore_mode=IgnoreMode.GIT,
    )
