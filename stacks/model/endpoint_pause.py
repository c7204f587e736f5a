"""The state machine that pauses and resumes the endpoint, and the schedules of its weekly hours."""

from pathlib import Path

from aws_cdk import Aws, Duration, Stack, TimeZone
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

from stacks.config import ENDPOINT_EXISTS, ENDPOINT_PAUSED, EnvironmentConfig
from stacks.model.hours import WeeklyHours
from stacks.shared import prefixes
from stacks.shared.definition import read_definition, read_messages
from stacks.shared.state_machine import StateMachine

_FOLDER = Path(__file__).parent
# An endpoint is created within minutes, and a release occupies the stack or the endpoint for up to an hour
_TIMEOUT_SECONDS = 3 * 3600
_POLL_SECONDS = 30
# A schedule that fires later is dropped, and an alarm notifies the operators
_LATEST = Duration.hours(1)


class EndpointPause(StateMachine):
    """May update the model stack, which CloudFormation does with the role of the stack's deployment."""

    def __init__(
        self, scope: Stack, construct_id: str, *, config: EnvironmentConfig, bucket: s3.IBucket, alert_topic: sns.ITopic
    ) -> None:
        retraining_arn, distributed_map_arn = (
            f"arn:{Aws.PARTITION}:states:{Aws.REGION}:{Aws.ACCOUNT_ID}:stateMachine:{name}"
            for name in (config.retraining_name, config.distributed_map_name)
        )
        super().__init__(
            scope,
            construct_id,
            config=config,
            definition=read_definition(
                _FOLDER / "pause.asl.yaml",
                EndpointExists=ENDPOINT_EXISTS,
                EndpointName=config.endpoint_name,
                EndpointPaused=ENDPOINT_PAUSED,
                PauseKey=prefixes.PAUSE,
                PollSeconds=_POLL_SECONDS,
                StackName=scope.stack_name,
                TimeoutSeconds=_TIMEOUT_SECONDS,
                WaitingPrefix=prefixes.WAITING,
                **read_messages(_FOLDER / "messages.yaml", Environment=config.name),
            ),
            functions={},
            substitutions={
                "AlertTopicArn": alert_topic.topic_arn,
                "BucketName": bucket.bucket_name,
                "DistributedMapArn": distributed_map_arn,
                "RetrainingArn": retraining_arn,
            },
            name=config.pause_name,
            log="events and data",  # which contain no images
        )
        self._allow_to_update_its_stack(scope, config)
        self.allow(
            ["sagemaker:DescribeEndpoint"],
            [scope.format_arn(service="sagemaker", resource="endpoint", resource_name=config.endpoint_name)],
        )
        self.allow(["s3:GetObject", "s3:PutObject"], [bucket.arn_for_objects(prefixes.PAUSE)])
        # To list waiting images; also, without it S3 returns 403 instead of 404 before the first pause
        self.allow(["s3:ListBucket"], [bucket.bucket_arn])
        self.allow(["states:ListExecutions"], [retraining_arn])
        self.allow(["states:StartExecution"], [distributed_map_arn])
        self.allow(["sns:Publish"], [alert_topic.topic_arn])

    def _allow_to_update_its_stack(self, scope: Stack, config: EnvironmentConfig) -> None:
        stack_arn = scope.format_arn(service="cloudformation", resource="stack", resource_name=f"{scope.stack_name}/*")
        self.allow(["cloudformation:DescribeStacks"], [stack_arn])
        # Not with another template from a bucket. CloudFormation uses the role of the deployment, because this role may
        # pass none. No condition on cloudformation:RoleArn: a request without a role may have the stack's own there.
        self.add_to_role_policy(
            iam.PolicyStatement(
                actions=["cloudformation:UpdateStack"],
                resources=[stack_arn],
                conditions={"Null": {"cloudformation:TemplateUrl": "true"}},
            )
        )
        # CloudFormation reads the template's SSM parameters with the permissions of the caller
        self.allow(
            ["ssm:GetParameters"],
            [
                scope.format_arn(service="ssm", resource="parameter", resource_name=name)
                for name in (
                    config.artifact_parameter.removeprefix("/"),
                    config.model_algorithm_parameter.removeprefix("/"),
                    f"cdk-bootstrap/{config.qualifier}/version",
                )
            ],
        )

    def follow(self, hours: WeeklyHours, *, dead_letters: sqs.IQueue) -> None:
        """Resume the endpoint when its hours begin, and pause it when they end."""
        for action, expression in (("resume", hours.starts), ("pause", hours.ends)):
            scheduler.Schedule(
                self.stack,
                f"{action.capitalize()}Schedule",
                schedule=scheduler.ScheduleExpression.expression(expression, TimeZone.of(hours.time_zone)),
                target=scheduler_targets.StepFunctionsStartExecution(
                    self,
                    input=scheduler.ScheduleTargetInput.from_object({"action": action}),
                    dead_letter_queue=dead_letters,
                    # The default is a day: a pause of last night could end today's hours
                    max_event_age=_LATEST,
                ),
            )
