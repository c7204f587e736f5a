"""The three functions, the state machine that runs them in sequence, its triggers, and all their permissions."""

from pathlib import Path

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.classification.limits import MAX_IMAGES, MAX_OUTCOME_BYTES, longest_execution_seconds
from stacks.classification.upload_event import INPUT_PATH
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.dead_letter_queue import DeadLetterQueue
from stacks.shared.definition import MESSAGES, image_states, read_definition, read_messages
from stacks.shared.function import IF_NEW, Function
from stacks.shared.service_principal import of_this_account
from stacks.shared.state_machine import StateMachine


class WorkflowStack(Stack):
    """Classifies images on request, on upload and on a schedule."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        bucket: s3.IBucket,
        alert_topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: workflow")
        self._config, self._bucket = config, bucket
        # Where the images that an execution's input names may be: each bucket's ARN and prefix
        self._images = [
            self._place(source)
            for source in (prefixes.INCOMING, prefixes.SCHEDULED, prefixes.TEST, *config.image_sources)
        ]
        # In the order of the steps. The bulk workflows invoke the same functions.
        self.steps = {
            "SerializeImageData": self._serialize_image_data(),
            "Classifier": self._classifier(),
            "FilterConfidence": self._filter_confidence(),
        }
        self.functions = list(self.steps.values())
        self.state_machine = self._state_machine(alert_topic)
        self.state_machine_log_group = self.state_machine.log_group
        self.dead_letters = DeadLetterQueue(self, "UndeliveredEvents")
        self._start_on_upload()
        self._start_on_schedule()
        # A serverless endpoint captures nothing, so predictions are recorded in this log group. It is exported for
        # either kind of endpoint: CloudFormation would refuse to remove an export that the monitoring stack imports.
        self.prediction_log = self.steps["FilterConfidence"].log_group.log_group_name
        self.export_value(self.prediction_log)
        CfnOutput(self, "PredictionLog", value=self.prediction_log)
        CfnOutput(self, "StateMachineArn", value=self.state_machine.state_machine_arn)
        CfnOutput(self, "UndeliveredEventsUrl", value=self.dead_letters.queue_url)

    def _serialize_image_data(self) -> Function:
        function = Function(self, "SerializeImageData", config=self._config)
        function.allow(
            ["s3:GetObject", "s3:GetObjectVersion"], [f"{bucket_arn}/{prefix}*" for bucket_arn, prefix in self._images]
        )
        # Without it S3 returns 403, not 404, for an object that does not exist
        function.allow(["s3:ListBucket"], self._image_buckets)
        return function

    def _classifier(self) -> Function:
        config, bucket = self._config, self._bucket
        function = Function(
            self,
            "Classifier",
            config=config,
            environment={
                "ENDPOINT_NAME": config.endpoint_name,
                "ENDPOINT_KIND": config.endpoint.kind,
                "CLASSES": self.to_json_string(list(config.classes)),
                "BUCKET_NAME": bucket.bucket_name,
            },
            timeout=Duration.seconds(config.endpoint.image_retries.classifier_timeout_seconds - 5),
        )
        function.allow(
            ["sagemaker:InvokeEndpoint"],
            [self.format_arn(service="sagemaker", resource="endpoint", resource_name=config.endpoint_name)],
        )
        # For images that arrive while the endpoint is paused
        function.allow(["s3:GetObject"], [bucket.arn_for_objects(prefixes.PAUSE)])
        function.allow(["s3:PutObject"], [bucket.arn_for_objects(f"{prefixes.WAITING}*")])
        return function

    def _filter_confidence(self) -> Function:
        config, bucket = self._config, self._bucket
        function = Function(
            self,
            "FilterConfidence",
            config=config,
            environment={
                "CONFIDENCE_THRESHOLD": str(config.confidence_threshold),
                "BUCKET_NAME": bucket.bucket_name,
                "ENDPOINT_KIND": config.endpoint.kind,
            },
        )
        predictions = [bucket.arn_for_objects(f"{prefixes.PREDICTIONS}*")]
        function.allow(["s3:PutObject"], predictions, conditions=IF_NEW)
        function.allow(["s3:GetObject"], predictions)  # to compare a new prediction with the stored one
        return function

    def _state_machine(self, alert_topic: sns.ITopic) -> StateMachine:
        config, bucket = self._config, self._bucket
        state_machine = StateMachine(
            self,
            "ClassificationWorkflow",
            config=config,
            definition=read_definition(
                Path(__file__).with_name("workflow.asl.yaml"),
                ClassifyImage=image_states(config.endpoint.image_retries),
                MapConcurrency=config.map_concurrency,
                MaxImages=MAX_IMAGES,
                MaxListed=MAX_IMAGES + 1,
                MaxOutcomeBytes=MAX_OUTCOME_BYTES,
                TimeoutSeconds=longest_execution_seconds(config.map_concurrency, config.endpoint.image_retries),
                **read_messages(
                    MESSAGES,
                    Environment=config.name,
                    Total="$count($states.input.outcomes)",
                    NotAccepted="$states.input.outcomes[outcome != 'ACCEPTED']",
                ),
            ),
            functions=self.steps,
            substitutions={"AlertTopicArn": alert_topic.topic_arn, "BucketName": bucket.bucket_name},
            name=f"{config.stage_name}-classification",
        )
        state_machine.allow(["s3:ListBucket"], self._image_buckets)
        state_machine.allow(["s3:PutObject"], [bucket.arn_for_objects(f"{prefixes.MANIFESTS}*")])
        state_machine.allow(["sns:Publish"], [alert_topic.topic_arn])
        return state_machine

    @property
    def _image_buckets(self) -> list[str]:
        return list(dict.fromkeys(bucket_arn for bucket_arn, _ in self._images))

    def _place(self, source: str) -> tuple[str, str]:
        """The bucket's ARN and the prefix that an entry of `image_sources` names."""
        name, _, prefix = source.removeprefix("s3://").partition("/")
        if source.startswith("s3://"):
            return f"arn:{self.partition}:s3:::{name}", prefix
        return self._bucket.bucket_arn, source

    def _start_on_upload(self) -> None:
        events.Rule(
            self,
            "ImageUploaded",
            description=f"An object below {prefixes.INCOMING} starts the classification workflow",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [self._bucket.bucket_name]},
                    "object": {"key": [{"prefix": prefixes.INCOMING}]},
                },
            ),
            targets=[
                targets.SfnStateMachine(
                    self.state_machine,
                    input=events.RuleTargetInput.from_event_path(INPUT_PATH),
                    role=iam.Role(self.state_machine, "EventsRole", assumed_by=of_this_account("events", "rule/*")),
                    dead_letter_queue=self.dead_letters,
                    retry_attempts=8,
                    max_event_age=Duration.hours(2),
                )
            ],
        )

    def _start_on_schedule(self) -> None:
        schedule = self._config.schedule
        if not schedule or schedule.workflow != "inline":
            return
        scheduler.Schedule(
            self,
            "Schedule",
            schedule=scheduler.ScheduleExpression.expression(schedule.expression),
            target=scheduler_targets.StepFunctionsStartExecution(
                self.state_machine,
                input=scheduler.ScheduleTargetInput.from_object(
                    {"s3_bucket": self._bucket.bucket_name, "s3_prefix": schedule.prefix}
                ),
                dead_letter_queue=self.dead_letters,
            ),
        )
