"""The retraining workflow: its state machine, its triggers, and their permissions."""

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.retraining.definition import retraining_definition
from stacks.retraining.functions import RetrainingFunctions
from stacks.shared import prefixes
from stacks.shared.algorithm_image import AlgorithmImage
from stacks.shared.dead_letter_queue import DeadLetterQueue
from stacks.shared.network_isolation import ISOLATED
from stacks.shared.service_principal import of_this_account
from stacks.shared.state_machine import StateMachine


class RetrainingStack(Stack):
    """Trains, evaluates and releases a new model, after drift, new data, a schedule or an operator's request."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        bucket: s3.IBucket,
        alert_topic: sns.ITopic,
        sagemaker_role: iam.IRole,
    ) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: retraining")
        self._config = config
        self._bucket = bucket
        self._sagemaker_role = sagemaker_role
        sagemaker.CfnModelPackageGroup(
            self,
            "ModelPackageGroup",
            # Without a description: CloudFormation could not change it later
            model_package_group_name=config.model_package_group,
        )
        functions = RetrainingFunctions(self, config=config, bucket=bucket, pass_role=self._pass_role())
        key = bucket.encryption_key
        state_machine = StateMachine(
            self,
            "RetrainingWorkflow",
            config=config,
            definition=retraining_definition(config, is_encrypted=key is not None),
            functions=functions.by_state,
            substitutions={
                "AlertTopicArn": alert_topic.topic_arn,
                "BucketName": bucket.bucket_name,
                "SageMakerRoleArn": sagemaker_role.role_arn,
                "TrainingImage": AlgorithmImage(self, config.algorithm).uri,
                **({"KeyArn": key.key_arn} if key else {}),
            },
            name=config.retraining_name,
            log="events and data",  # which contain no images
        )
        state_machine.allow(["sns:Publish"], [alert_topic.topic_arn])
        state_machine.allow(["sagemaker:DescribeEndpoint"], [self._sagemaker_arn("endpoint", config.endpoint_name)])
        state_machine.allow(
            ["sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage"],
            [self._sagemaker_arn("model-package", f"{config.model_package_group}/*")],
        )
        self._let_run_jobs(state_machine)
        self.state_machine = state_machine
        self.dead_letters = DeadLetterQueue(self, "UndeliveredEvents")
        self._triggers(state_machine)
        CfnOutput(self, "StateMachineArn", value=state_machine.state_machine_arn)

    def _let_run_jobs(self, state_machine: sfn.StateMachine) -> None:
        """Permissions for `.sync`: https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html"""
        for kind in ("TrainingJob", "TransformJob"):
            resource = self._sagemaker_arn(
                "training-job" if kind == "TrainingJob" else "transform-job", f"{self._config.stage_name}-*"
            )
            state_machine.add_to_role_policy(
                iam.PolicyStatement(
                    actions=[f"sagemaker:Create{kind}"],
                    resources=[resource],
                    conditions=ISOLATED if kind == "TrainingJob" else None,  # for a transform job, its model decides
                )
            )
            state_machine.add_to_role_policy(
                iam.PolicyStatement(
                    actions=[
                        *(f"sagemaker:{verb}{kind}" for verb in ("Describe", "Stop")),
                        "sagemaker:AddTags",
                        "sagemaker:ListTags",
                    ],
                    resources=[resource],
                )
            )
            state_machine.add_to_role_policy(
                iam.PolicyStatement(
                    actions=["events:DescribeRule", "events:PutRule", "events:PutTargets"],
                    resources=[
                        self.format_arn(
                            service="events",
                            resource="rule",
                            resource_name=f"StepFunctionsGetEventsForSageMaker{kind}sRule",
                        )
                    ],
                )
            )
        state_machine.add_to_role_policy(self._pass_role())

    def _pass_role(self) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            actions=["iam:PassRole"],
            resources=[self._sagemaker_role.role_arn],
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )

    def _sagemaker_arn(self, kind: str, name: str) -> str:
        return self.format_arn(service="sagemaker", resource=kind, resource_name=name)

    def _triggers(self, state_machine: sfn.StateMachine) -> None:
        config = self._config
        role = iam.Role(state_machine, "EventsRole", assumed_by=of_this_account("events", "rule/*"))

        def start_on(construct_id: str, trigger: str, description: str, pattern: events.EventPattern) -> None:
            events.Rule(
                self,
                construct_id,
                description=description,
                enabled=config.retraining.enabled,
                event_pattern=pattern,
                targets=[
                    targets.SfnStateMachine(
                        state_machine,
                        input=events.RuleTargetInput.from_object({"trigger": trigger}),
                        role=role,
                        dead_letter_queue=self.dead_letters,
                        retry_attempts=8,
                        max_event_age=Duration.hours(2),
                    )
                ],
            )

        start_on(
            "DriftDetected",
            "drift",
            "The drift alarm starts retraining",
            events.EventPattern(
                source=["aws.cloudwatch"],
                detail_type=["CloudWatch Alarm State Change"],
                detail={"alarmName": [config.drift_alarm_name], "state": {"value": ["ALARM"]}},
            ),
        )
        start_on(
            "DataReady",
            "data",
            f"{prefixes.READY_MARKER} marks a complete data set, and starts retraining",
            events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={"bucket": {"name": [self._bucket.bucket_name]}, "object": {"key": [prefixes.READY_MARKER]}},
            ),
        )
        if config.retraining.schedule:
            scheduler.Schedule(
                self,
                "Schedule",
                schedule=scheduler.ScheduleExpression.expression(config.retraining.schedule),
                enabled=config.retraining.enabled,
                target=scheduler_targets.StepFunctionsStartExecution(
                    state_machine,
                    input=scheduler.ScheduleTargetInput.from_object({"trigger": "schedule"}),
                    dead_letter_queue=self.dead_letters,
                ),
            )
