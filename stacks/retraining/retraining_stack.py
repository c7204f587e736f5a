"""The functions of the retraining workflow, its state machine, and what starts it. Every grant is made here."""

from collections.abc import Sequence

from aws_cdk import ArnFormat, CfnOutput, Duration, Stack
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

from lambda_src.shared.model_documents import document_key
from stacks.config import EnvironmentConfig
from stacks.retraining.definition import retraining_definition
from stacks.retraining.training_job import parameters_digest
from stacks.shared import prefixes
from stacks.shared.builtin_image import BuiltinImage
from stacks.shared.dead_letter_queue import DeadLetterQueue
from stacks.shared.encryption import let_services_encrypt_volumes
from stacks.shared.function import Function
from stacks.shared.guardrails import deployment_config, guardrail_alarm_arns
from stacks.shared.local_storage import volume_key_of
from stacks.shared.sagemaker_role import ISOLATED
from stacks.shared.service_principal import of_this_account
from stacks.shared.state_machine import StateMachine

_LONG = Duration.minutes(15)  # reads every image of the data set
_SHORT = Duration.minutes(1)
_ONE_CPU_MB = 1769


class RetrainingStack(Stack):
    """Trains, evaluates and releases a new model, when there is reason to."""

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
            model_package_group_name=config.model_package_group,
            model_package_group_description="Models that were good enough to be released, and who approved them",
        )
        key = bucket.encryption_key
        state_machine = StateMachine(
            self,
            "RetrainingWorkflow",
            config=config,
            definition=retraining_definition(config, is_encrypted=key is not None),
            functions=self._functions(),
            substitutions={
                "AlertTopicArn": alert_topic.topic_arn,
                "BucketName": bucket.bucket_name,
                "SageMakerRoleArn": sagemaker_role.role_arn,
                "TrainingImage": BuiltinImage(self).uri,
                **({"KeyArn": key.key_arn} if key else {}),
            },
            name=config.retraining_name,
            log_execution_data=True,  # it holds no images
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

    def _functions(self) -> dict[str, Function]:
        """By state name; what each may touch stands here."""
        config, bucket = self._config, self._bucket
        settings = {
            "RETRAINING": self.to_json_string(
                {
                    "bucket_name": bucket.bucket_name,
                    "endpoint_name": config.endpoint_name,
                    "stage_name": config.stage_name,
                    "classes": list(config.classes),
                    "parameters_digest": parameters_digest(config),
                    "artifact_parameter": config.artifact_parameter,
                    "metadata_parameter": config.model_metadata_parameter,
                    "baseline_parameter": config.baseline_parameter,
                    "max_per_day": config.retraining.max_per_day,
                    "cool_down_minutes": config.retraining.cool_down_minutes,
                    "minimum_accuracy": config.retraining.minimum_accuracy,
                    "margin": config.retraining.margin,
                    "max_calibration_error": config.retraining.max_calibration_error,
                    "deployment_config": deployment_config(config),
                }
            ),
            "BUCKET_NAME": bucket.bucket_name,
        }
        functions = {
            name: Function(
                self,
                name,
                config=config,
                environment=settings,
                memory_mb=_ONE_CPU_MB if timeout is _LONG else 512,
                timeout=timeout,
            )
            for name, timeout in {
                "RetrainingGuard": _SHORT,
                "ValidateDataSet": _LONG,
                "PrepareTraining": _SHORT,
                "PrepareEvaluation": _SHORT,
                "PrepareRollback": _SHORT,
                "EvaluateModels": _LONG,
                "ReleaseModel": _SHORT,
                "RestoreEndpoint": _SHORT,
                "SmokeTest": _SHORT,
                "RecordRelease": _SHORT,
            }.items()
        }
        reads = {
            "RetrainingGuard": [f"{prefixes.RETRAINING}ledger.json"],
            "ValidateDataSet": ["manifest.json", *(f"{p}*" for p in _CHANNELS)],
            "PrepareTraining": ["manifest.json"],
            "EvaluateModels": [f"{prefixes.TEST_LST}*", f"{prefixes.RETRAINING}*/*.out"],
            "PrepareRollback": [f"{prefixes.RELEASES}*"],
            "SmokeTest": [document_key("*", "smoke_test"), f"{prefixes.TEST}*", f"{prefixes.TEST_LST}*"],
            "RecordRelease": [document_key("*", "manifest"), document_key("*", "evaluation")],
        }
        writes = {
            "RetrainingGuard": [f"{prefixes.RETRAINING}ledger.json"],
            "ValidateDataSet": [f"{prefixes.RETRAINING}*/validation.manifest"],
            "PrepareTraining": [document_key("*", "manifest")],
            "EvaluateModels": [
                document_key("*", "predictions"),
                document_key("*", "evaluation"),
                document_key("*", "smoke_test"),
                document_key("*", "baseline"),
            ],
        }
        for name, keys in reads.items():
            functions[name].allow(["s3:GetObject"], [bucket.arn_for_objects(key) for key in keys])
            # Without it S3 answers 403, not 404, for an object that does not exist
            functions[name].allow(["s3:ListBucket"], [bucket.bucket_arn])
        for name, keys in writes.items():
            functions[name].allow(["s3:PutObject"], [bucket.arn_for_objects(key) for key in keys])
        self._let_reach_sagemaker(functions)
        self._let_reach_parameters(functions)
        functions["RetrainingGuard"].allow(
            ["states:DescribeExecution"],
            [
                self.format_arn(
                    service="states",
                    resource="execution",
                    resource_name=f"{config.retraining_name}:*",
                    arn_format=ArnFormat.COLON_RESOURCE_NAME,
                )
            ],
        )
        return functions

    def _let_reach_sagemaker(self, functions: dict[str, Function]) -> None:
        config = self._config
        endpoint = self._sagemaker_arn("endpoint", config.endpoint_name)
        # The served model and its config may be CloudFormation's, whose names it chooses
        any_config, any_model = (self._sagemaker_arn(kind, "*") for kind in ("endpoint-config", "model"))
        own_config, own_model, own_job = (
            self._sagemaker_arn(kind, f"{config.stage_name}-*") for kind in ("endpoint-config", "model", "training-job")
        )
        for name in ("PrepareTraining", "PrepareEvaluation", "PrepareRollback", "RecordRelease"):
            functions[name].allow(["sagemaker:DescribeTrainingJob"], [own_job])
        functions["PrepareTraining"].allow(["sagemaker:ListTrainingJobs"], ["*"])
        for name in ("PrepareEvaluation", "PrepareRollback", "ReleaseModel", "RestoreEndpoint"):
            functions[name].allow(
                ["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"],
                [endpoint, any_config, any_model],
            )
        for name in ("PrepareEvaluation", "PrepareRollback"):
            functions[name].allow(["sagemaker:AddTags"], [own_model])
            functions[name].allow(
                ["sagemaker:CreateModel"], [own_model], conditions=ISOLATED if config.endpoint.is_isolated else None
            )
            functions[name].add_to_role_policy(self._pass_role())
        functions["ReleaseModel"].allow(["sagemaker:CreateEndpointConfig", "sagemaker:AddTags"], [own_config])
        functions["ReleaseModel"].allow(["sagemaker:UpdateEndpoint"], [endpoint, own_config])
        if alarms := guardrail_alarm_arns(self, config):
            functions["ReleaseModel"].allow(["cloudwatch:DescribeAlarms"], alarms)
        functions["RestoreEndpoint"].allow(["sagemaker:UpdateEndpoint"], [endpoint, any_config])
        if (key := self._bucket.encryption_key) and volume_key_of(config.endpoint, key.key_arn):
            for name in ("ReleaseModel", "RestoreEndpoint"):
                functions[name].add_to_role_policy(let_services_encrypt_volumes(key))
        functions["SmokeTest"].allow(["sagemaker:InvokeEndpoint"], [endpoint])

    def _let_reach_parameters(self, functions: dict[str, Function]) -> None:
        config = self._config
        artifact, metadata, baseline = (
            self.format_arn(service="ssm", resource="parameter", resource_name=name.removeprefix("/"))
            for name in (config.artifact_parameter, config.model_metadata_parameter, config.baseline_parameter)
        )
        for name in ("PrepareEvaluation", "PrepareRollback"):
            functions[name].allow(["ssm:GetParameter"], [artifact])
        functions["RecordRelease"].allow(["ssm:GetParameter", "ssm:PutParameter"], [artifact, metadata, baseline])

    def _let_run_jobs(self, state_machine: sfn.StateMachine) -> None:
        """What `.sync` needs: https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html"""
        for kind in ("TrainingJob", "TransformJob"):
            resource = self._sagemaker_arn(
                "training-job" if kind == "TrainingJob" else "transform-job", f"{self._config.stage_name}-*"
            )
            state_machine.add_to_role_policy(
                iam.PolicyStatement(
                    actions=[f"sagemaker:Create{kind}"],
                    resources=[resource],
                    conditions=ISOLATED if kind == "TrainingJob" else None,  # the other's model decides
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
            f"{prefixes.READY_MARKER} says that a whole data set is there, and starts retraining",
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


_CHANNELS: Sequence[str] = (prefixes.TRAIN, prefixes.TRAIN_LST, prefixes.TEST, prefixes.TEST_LST)
