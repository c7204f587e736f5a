"""The workflows for many images: Distributed Map over the endpoint, and Batch Transform without one."""

from collections.abc import Mapping

from aws_cdk import ArnFormat, CfnOutput, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.bulk.definitions import SUMMARY_TIMEOUT_SECONDS
from stacks.bulk.definitions import batch_transform as batch_transform_definition
from stacks.bulk.definitions import distributed_map as distributed_map_definition
from stacks.config import EnvironmentConfig, ScheduleConfig
from stacks.shared import prefixes
from stacks.shared.dead_letter_queue import DeadLetterQueue
from stacks.shared.definition import Definition
from stacks.shared.function import IF_NEW, Function
from stacks.shared.scanner_exceptions import acknowledge
from stacks.shared.service_principal import of_this_account
from stacks.shared.state_machine import StateMachine

_IMAGES = (prefixes.INCOMING, prefixes.SCHEDULED, prefixes.TEST)


class BulkStack(Stack):
    """Two state machines and their functions, which cost nothing while idle. All grants are made here."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        bucket: s3.IBucket,
        alert_topic: sns.ITopic,
        steps: Mapping[str, lambda_.IFunction],
    ) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: bulk workflows")
        self._config, self._bucket, self._alert_topic = config, bucket, alert_topic
        find_predictions, read_transform_output, summarize = self._functions()
        distributed_map = self._state_machine(
            "DistributedMap",
            distributed_map_definition(config),
            functions={"FindPredictions": find_predictions, **steps, "BulkSummary": summarize},
        )
        distributed_map.allow(["s3:GetObject"], self._objects(prefixes.BULK))
        batch_transform = self._batch_transform(
            {
                "ReadTransformOutput": read_transform_output,
                "FilterConfidence": steps["FilterConfidence"],
                "BulkSummary": summarize,
            }
        )
        self.state_machines = [distributed_map, batch_transform]
        # Also without a schedule: CloudFormation cannot remove an export that the monitoring stack still imports
        self.dead_letters = DeadLetterQueue(self, "UndeliveredSchedules")
        self.export_value(self.dead_letters.queue_name)
        workflows = {"distributed-map": distributed_map, "batch-transform": batch_transform}
        schedule = config.schedule if config.schedule and config.schedule.workflow in workflows else None
        self.is_scheduled = schedule is not None
        if schedule:
            self._start_regularly(workflows[schedule.workflow], schedule)
        CfnOutput(self, "DistributedMapArn", value=distributed_map.state_machine_arn)
        CfnOutput(self, "BatchTransformArn", value=batch_transform.state_machine_arn)

    def _functions(self) -> tuple[Function, Function, Function]:
        """FindPredictions, ReadTransformOutput and BulkSummary."""
        config, bucket = self._config, self._bucket
        where = {"BUCKET_NAME": bucket.bucket_name}
        find_predictions = Function(self, "FindPredictions", config=config, environment=where)
        find_predictions.allow(["s3:GetObject"], self._objects(*_IMAGES, prefixes.PREDICTIONS))
        read_transform_output = Function(
            self,
            "ReadTransformOutput",
            config=config,
            environment={**where, "CLASSES": self.to_json_string(list(config.classes))},
        )
        read_transform_output.allow(["s3:GetObject"], self._objects(*_IMAGES, prefixes.TRANSFORMS))
        summarize = Function(
            self, "BulkSummary", config=config, environment=where, timeout=Duration.seconds(SUMMARY_TIMEOUT_SECONDS)
        )
        summarize.allow(["s3:GetObject"], self._objects(prefixes.MANIFESTS))
        summarize.allow(["s3:PutObject"], self._objects(prefixes.MANIFESTS), conditions=IF_NEW)
        for function in (find_predictions, read_transform_output, summarize):
            # To list; also, without it S3 returns 403 instead of 404 for an object that does not exist
            function.allow(["s3:ListBucket"], [bucket.bucket_arn])
        return find_predictions, read_transform_output, summarize

    def _start_regularly(self, workflow: StateMachine, schedule: ScheduleConfig) -> None:
        scheduler.Schedule(
            self,
            "Schedule",
            schedule=scheduler.ScheduleExpression.expression(schedule.expression),
            target=scheduler_targets.StepFunctionsStartExecution(
                workflow,
                input=scheduler.ScheduleTargetInput.from_object({"s3_prefix": schedule.prefix}),
                dead_letter_queue=self.dead_letters,
            ),
        )

    def _batch_transform(self, functions: Mapping[str, lambda_.IFunction]) -> StateMachine:
        config, bucket, key = self._config, self._bucket, self._bucket.encryption_key
        batch_transform = self._state_machine(
            "BatchTransform",
            batch_transform_definition(config, is_encrypted=key is not None),
            functions=functions,
            substitutions={"KeyArn": key.key_arn} if key else {},
        )
        batch_transform.allow(["s3:GetObject"], [bucket.arn_for_objects(f"{prefixes.BULK}*.manifest")])
        batch_transform.allow(["sagemaker:DescribeEndpoint"], [self._sagemaker_arn("endpoint", config.endpoint_name)])
        # CloudFormation and the releases choose the names of endpoint configs
        batch_transform.allow(["sagemaker:DescribeEndpointConfig"], [self._sagemaker_arn("endpoint-config", "*")])
        # https://docs.aws.amazon.com/step-functions/latest/dg/sagemaker-iam.html
        batch_transform.allow(
            [
                "sagemaker:AddTags",
                "sagemaker:CreateTransformJob",
                "sagemaker:DescribeTransformJob",
                "sagemaker:ListTags",
                "sagemaker:StopTransformJob",
            ],
            [self._sagemaker_arn("transform-job", f"{config.stage_name}-*")],
        )
        batch_transform.allow(
            ["events:DescribeRule", "events:PutRule", "events:PutTargets"],
            [
                self.format_arn(
                    service="events",
                    resource="rule",
                    resource_name="StepFunctionsGetEventsForSageMakerTransformJobsRule",
                )
            ],
        )
        return batch_transform

    def _objects(self, *names: str) -> list[str]:
        return [self._bucket.arn_for_objects(f"{name}*") for name in names]

    def _sagemaker_arn(self, kind: str, name: str) -> str:
        return self.format_arn(service="sagemaker", resource=kind, resource_name=name)

    def _state_machine(
        self,
        name: str,
        definition: Definition,
        *,
        functions: Mapping[str, lambda_.IFunction],
        substitutions: Mapping[str, str] | None = None,
    ) -> StateMachine:
        """A state machine with the permissions of both workflows: results in S3, child executions, the alert topic."""
        bucket, topic = self._bucket, self._alert_topic
        role = iam.Role(self, f"{name}Role", assumed_by=of_this_account("states", "stateMachine:*"))
        state_machine = StateMachine(
            self,
            name,
            config=self._config,
            definition=definition,
            functions=functions,
            substitutions={
                "AlertTopicArn": topic.topic_arn,
                "BucketName": bucket.bucket_name,
                **(substitutions or {}),
            },
            role=role,
            name=f"{self._config.stage_name}-{name}",
            # Logging all events would cost more than the executions, and the outcome of every image is in S3
            log="errors",
        )
        acknowledge(
            state_machine,
            {
                "AwsSolutions-SF1": (
                    "Logs errors only: logging every step of a million images would cost more than classifying them"
                )
            },
        )
        state_machine.allow(["s3:ListBucket"], [bucket.bucket_arn])
        role.add_to_policy(
            iam.PolicyStatement(
                sid="WriteResults",
                actions=["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"],
                resources=self._objects(prefixes.MANIFESTS),
            )
        )
        state_machine.allow(["sns:Publish"], [topic.topic_arn])
        self._let_run_children(state_machine, role, name)
        return state_machine

    def _let_run_children(self, state_machine: StateMachine, role: iam.Role, name: str) -> None:
        """Let a Distributed Map start and stop its child executions.

        In a policy of its own, because it names the state machine, which depends on the role's default policy.
        """
        executions = self.format_arn(
            service="states",
            resource="execution",
            resource_name=f"{state_machine.state_machine_name}*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        iam.Policy(
            self,
            f"{name}ChildrenPolicy",
            roles=[role],
            statements=[
                iam.PolicyStatement(actions=["states:StartExecution"], resources=[state_machine.state_machine_arn]),
                iam.PolicyStatement(
                    actions=["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"],
                    resources=[executions],
                ),
            ],
        )
