"""The role that SageMaker's jobs and endpoints run with."""

from collections.abc import Sequence

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.shared.service_principal import of_this_account

# Of a model or a training job: its container reaches nothing but what SageMaker brings it
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
ISOLATED = {"Bool": {"sagemaker:NetworkIsolation": "true"}}


class SageMakerRole(iam.Role):
    """What any container of SageMaker needs: its image, its own logs and metrics. The rest is the caller's to grant."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        description: str,
        repository_arns: list[str],
        log_groups: Sequence[str],
    ) -> None:
        """`log_groups` are the names below `/aws/sagemaker/`, such as `TrainingJobs`."""
        super().__init__(
            scope,
            construct_id,
            description=description,
            assumed_by=of_this_account("sagemaker"),
        )
        self.allow(
            "PullImage",
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            repository_arns,
        )
        self.allow(
            "WriteLogs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [
                Stack.of(scope).format_arn(
                    service="logs",
                    resource="log-group",
                    resource_name=f"/aws/sagemaker/{name}{suffix}",
                    arn_format=ArnFormat.COLON_RESOURCE_NAME,
                )
                for name in log_groups
                for suffix in ("", ":*")  # the group, and its streams
            ],
        )
        # Neither action supports resource-level permissions
        self.allow("SignInToRegistry", ["ecr:GetAuthorizationToken"], ["*"])
        self.allow(
            "PublishMetrics",
            ["cloudwatch:PutMetricData"],
            ["*"],
            conditions={"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "aws/sagemaker/*"]}},
        )

    def allow(
        self,
        sid: str,
        actions: list[str],
        resources: list[str],
        *,
        conditions: dict[str, dict[str, str | list[str]]] | None = None,
    ) -> None:
        """One statement, whose `sid` says what it is for."""
        self.add_to_policy(iam.PolicyStatement(sid=sid, actions=actions, resources=resources, conditions=conditions))
