"""The retraining workflow as a Step Functions definition (JSONata). docs/retraining.md draws it.

    RetrainingGuard -> ValidateDataSet -> PrepareTraining -> TrainCandidate -> PrepareEvaluation
      -> EvaluateBoth( TransformCandidate | TransformIncumbent ) -> EvaluateModels -> gate -> approval
      -> ReleaseModel -> the endpoint moves, or goes back -> SmokeTest -> RecordRelease -> NotifyReleased

Until ReleaseModel nothing that is served changes, so what fails there is told and that is all. From there on, what
fails is undone first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import Aws, Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.retraining.job_state import JobState
from stacks.retraining.training_job import (
    INSTANCE_REFUSED,
    longest_job_minutes,
    training_job_request,
    training_resources,
)
from stacks.shared import prefixes
from stacks.shared.algorithm import CONTENT_TYPE
from stacks.shared.retry_policy import ANY_FAILURE, INVOCATION, RetryPolicy, poll_seconds
from stacks.shared.states import invoke, jsonata, publish, retry
from stacks.shared.transform_job import transform_job_request

LONG = Duration.minutes(16)  # above the 15 minutes of a function that reads every image
SHORT = Duration.seconds(70)
# An update of an endpoint ends after eight hours at the latest:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html
_LONGEST_UPDATE = Duration.hours(8)
_BUSY_POLL = Duration.minutes(1)

# Another attempt may succeed. ClientError is whatever AWS refused; what is refused for good costs three attempts.
TRANSIENT = RetryPolicy(
    errors=(
        "ClientError",
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "EndpointUnavailableError",
        "GuardContentionError",
        "ReadTimeoutError",
    )
)

_SERVED = "$states.input.models.incumbent.job"
_CANDIDATE = "$states.input.models.candidate.job"


def _adding(name: str, value: str) -> str:
    """The state's input with one more member."""
    return jsonata(f"$merge([$states.input, {{'{name}': {value}}}])")


# A function's Cause is JSON, and so is that of a job that failed; that of a time-out or a service error is text
_FAILURE = _adding(
    "failure",
    r"""(
      $cause := $states.errorOutput.Cause;
      $parsed := $contains($cause, /^\{[\s\S]*\}$/) ? $parse($cause) : {};
      {
        'error': $states.errorOutput.Error,
        'cause': $substring(
          $exists($parsed.errorMessage) ? $parsed.errorMessage
            : $exists($parsed.FailureReason) ? $parsed.FailureReason : $cause, 0, 2000)
      }
    )""",
)

_RESULTS = rf"""([
  'Candidate ' & {_CANDIDATE} & ': accuracy ' & $formatNumber($states.input.evaluation.candidate.accuracy, '0.0000')
    & ', calibration error ' & $formatNumber($states.input.evaluation.candidate.calibration_error, '0.0000'),
  'Incumbent ' & {_SERVED} & ': accuracy ' & $formatNumber($states.input.evaluation.incumbent.accuracy, '0.0000')
    & ', calibration error ' & $formatNumber($states.input.evaluation.incumbent.calibration_error, '0.0000'),
  'Both on the same ' & $states.input.evaluation.candidate.images & ' validation images.'
])"""

# Nothing where the first instance type was as good as any
_REFUSED = "$states.input.refused.('Could not train on ' & $)"
_EXECUTION = "'Execution: ' & $states.context.Execution.Id"
_WHY = "$states.input.failure.error & ': ' & $states.input.failure.cause"


@dataclass(frozen=True)
class _Ending:
    """How a run can end: what the operators are told, and the state that it ends in."""

    name: str
    subject: str  # JSONata
    lines: list[str]  # JSONata
    error: str = ""  # of an execution that ends red


class RetrainingWorkflow:
    """Builds the definition; `start` is its first state."""

    def __init__(
        self,
        scope: Construct,
        *,
        config: EnvironmentConfig,
        functions: Mapping[str, lambda_.IFunction],
        bucket: s3.IBucket,
        alert_topic: sns.ITopic,
        sagemaker_role_arn: str,
        image_uri: str,
    ) -> None:
        self._scope = scope
        self._config = config
        self._functions = functions
        self._bucket = bucket
        self._key_arn = bucket.encryption_key.key_arn if bucket.encryption_key else ""
        self._topic = alert_topic
        self._role_arn = sagemaker_role_arn
        self._image_uri = image_uri
        self.start = self._guard()

    # Before anything changes

    def _guard(self) -> sfn.IChainable:
        failed = self._end(
            _Ending(
                name="Failed",
                subject="'retraining failed'",
                lines=[_WHY, "'Nothing was changed: the endpoint serves what it served, and the parameters name it.'"],
                error="RetrainingFailed",
            )
        )
        guard = self._step(
            "RetrainingGuard",
            payload="""{
              'execution_arn': $states.context.Execution.Id,
              'started_at': $states.context.Execution.StartTime,
              'input': $states.input
            }""",
            outputs=jsonata("$merge([$states.result.Payload, {'input': $states.input}])"),
        )
        refused = self._end(
            _Ending(
                name="NotStarted",
                subject="'retraining not started'",
                lines=[
                    "'Asked for by: ' & $states.input.trigger",
                    "'Not started: ' & $states.input.refusal",
                    "'Start it by hand with `python -m ops retrain --force`, unless a run is under way.'",
                ],
            )
        )
        release = self._release()
        gated = self._gate(failed, release)
        prepare_rollback = self._step(
            "PrepareRollback",
            payload="{'job': $states.input.input.job ? $states.input.input.job : ''}",
            outputs=_adding("models", "$states.result.Payload"),
            waits_for_endpoint=True,
        )
        prepare_evaluation = self._step(
            "PrepareEvaluation",
            payload="{'job': $states.input.training.job}",
            outputs=_adding("models", "$states.result.Payload"),
            waits_for_endpoint=True,
        )
        prepare_evaluation.next(self._what_is_served("IsCandidateServed?", release, otherwise=gated))
        prepare_rollback.next(self._what_is_served("IsTargetServed?", release, otherwise=release.start))
        validate = self._step(
            "ValidateDataSet",
            payload="{'run': $states.input.run}",
            outputs=_adding("data", "$states.result.Payload"),
            timeout=LONG,
        )
        validate.next(self._train(failed, then=prepare_evaluation))
        for step in (guard, validate, prepare_evaluation, prepare_rollback):
            step.add_catch(failed, outputs=_FAILURE)
        return guard.next(
            sfn.Choice.jsonata(self._scope, "MayStart?")
            # Alarms come in storms; one that finds a run under way need not be told of it
            .when(
                _condition("$states.input.refusal != '' and $states.input.trigger = 'drift'"),
                sfn.Succeed.jsonata(self._scope, "AlarmIgnored"),
            )
            .when(_condition("$states.input.refusal != ''"), refused)
            .when(_condition("($states.input.input.rollback = true)"), prepare_rollback)
            .otherwise(validate)
        )

    def _train(self, failed: sfn.IChainable, *, then: sfn.IChainable) -> sfn.IChainable:
        prepare = self._step(
            "PrepareTraining", payload="$states.input.data", outputs=_adding("training", "$states.result.Payload")
        )
        prepare.add_catch(failed, outputs=_FAILURE)
        types = self._config.training.instance_types
        resources: Any = jsonata(self._of_instance_type([training_resources(name, self._key_arn) for name in types]))
        request: Any = training_job_request(
            self._config,
            job_name="{% $states.input.training.job %}",
            bucket=self._bucket.bucket_name,
            role_arn=self._role_arn,
            image=self._image_uri,
            num_training_samples="{% $string($states.input.data.train) %}",
            resources=resources,
            checkpoint_uri=jsonata(
                f"'s3://{self._bucket.bucket_name}/{prefixes.MODELS}' & $states.input.training.job & '/checkpoints/'"
            ),
            tags={"data-digest": "{% $states.input.data.data_digest %}"},
            key_arn=self._key_arn,
        )
        train = JobState(self._scope, "TrainCandidate", operation="createTrainingJob", request=request)
        train.catch(self._next_instance_type(failed, then=prepare), outputs=_FAILURE)
        wait = self._wait("WaitForTraining", longest=Duration.minutes(longest_job_minutes(self._config))).next(prepare)
        return prepare.next(
            sfn.Choice.jsonata(self._scope, "IsTrained?")
            .when(_condition("$states.input.training.status = 'Completed'"), then)
            .when(_condition("$states.input.training.status = 'InProgress'"), wait)
            .otherwise(train.next(then))
        )

    def _next_instance_type(self, failed: sfn.IChainable, *, then: sfn.IChainable) -> sfn.IChainable:
        """Where the account or AWS does not have one, the next is tried; a job that failed has taken its name."""
        types = self._config.training.instance_types
        try_next = sfn.Pass.jsonata(
            self._scope,
            "NextInstanceType",
            outputs=_adding(
                "refused",
                f"""[
                  $states.input.refused,
                  {self._of_instance_type(types)} & ': ' & $substring($states.input.failure.cause, 0, 300)
                ]""",
            ),
        ).next(then)
        return (
            sfn.Choice.jsonata(self._scope, "IsInstanceRefused?")
            .when(
                _condition(
                    f"$contains({_WHY}, /{INSTANCE_REFUSED}/) and $count($states.input.refused) < {len(types) - 1}"
                ),
                try_next,
            )
            .otherwise(failed)
        )

    def _of_instance_type(self, values: Sequence[Any]) -> str:
        """That of the values which belongs to the first instance type that was not refused yet."""
        return f"{json.dumps(values)}[$count($states.input.refused)]"

    def _what_is_served(self, name: str, release: "_Release", *, otherwise: sfn.IChainable) -> sfn.IChainable:
        """A model that is served already is either nothing new, or what an interrupted run has not finished."""
        return (
            sfn.Choice.jsonata(self._scope, name)
            .when(
                _condition("$states.input.models.is_served and $states.input.models.is_released"),
                self._nothing_new(),
            )
            .when(_condition("($states.input.models.is_served = true)"), release.check)
            .otherwise(otherwise)
        )

    def _nothing_new(self) -> sfn.IChainable:
        existing = self._scope.node.try_find_child("NotifyNothingNew")
        if isinstance(existing, tasks.SnsPublish):
            return existing
        return self._end(
            _Ending(
                name="NothingNew",
                subject="'nothing new to serve'",
                lines=[
                    f"{_SERVED} & ' is served already.'",
                    "'The data set is the one that it was trained on, and the parameters are the same: to train "
                    "again would give the same model. New labelled images below train/ make the difference.'",
                ],
            )
        )

    def _gate(self, failed: sfn.IChainable, release: "_Release") -> sfn.IChainable:
        both = sfn.Parallel.jsonata(
            self._scope, "EvaluateBoth", comment="The same images for both models", outputs="{% $states.input %}"
        )
        for role in ("candidate", "incumbent"):
            both.branch(self._transform(role))
        outputs = {
            role: f"'{prefixes.RETRAINING}' & $states.input.run & '/{role}/'" for role in ("candidate", "incumbent")
        }
        evaluate = self._step(
            "EvaluateModels",
            payload="{"
            + ", ".join(
                f"'{role}': $merge([$states.input.models.{role}, {{'output': {output}}}])"
                for role, output in outputs.items()
            )
            + "}",
            outputs=_adding("evaluation", "$states.result.Payload"),
            timeout=LONG,
        )
        for state in (both, evaluate):
            state.add_catch(failed, outputs=_FAILURE)
        rejected = self._end(
            _Ending(
                name="Rejected",
                subject="'candidate rejected'",
                lines=[
                    _RESULTS,
                    r"'Rejected: ' & $join($states.input.evaluation.reasons, '; ')",
                    f"'Nothing was changed: the endpoint serves ' & {_SERVED}",
                ],
            )
        )
        needs_approval = "true" if self._config.retraining.approval else "($states.input.input.approval = true)"
        return both.next(evaluate).next(
            sfn.Choice.jsonata(self._scope, "IsGoodEnough?")
            .when(_condition("$count($states.input.evaluation.reasons) > 0"), rejected)
            .when(_condition(needs_approval), self._approval(failed, release))
            .otherwise(release.start)
        )

    def _transform(self, role: str) -> sfn.IChainable:
        bucket = self._bucket.bucket_name
        request: Any = transform_job_request(
            self._config,
            job_name=jsonata(f"'{self._config.stage_name}-' & $states.input.run & '-{role}'"),
            model=f"{{% $states.input.models.{role}.model %}}",
            source_type="ManifestFile",
            source_uri=jsonata(f"'s3://{bucket}/' & $states.input.data.validation_manifest"),
            output_uri=jsonata(f"'s3://{bucket}/{prefixes.RETRAINING}' & $states.input.run & '/{role}'"),
            key_arn=self._key_arn,
        )
        return JobState(self._scope, f"Transform{role.capitalize()}", operation="createTransformJob", request=request)

    def _approval(self, failed: sfn.IChainable, release: "_Release") -> sfn.IChainable:
        """The Model Registry asks a person, and keeps who answered and when."""
        group = self._config.model_package_group
        arn = f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}"
        register = tasks.CallAwsService.jsonata(
            self._scope,
            "RegisterModel",
            comment="Waits in the Model Registry for a person's approval",
            service="sagemaker",
            action="createModelPackage",
            parameters={
                "ModelPackageGroupName": group,
                "ModelApprovalStatus": "PendingManualApproval",
                # SageMaker takes a token of at most 36 characters, and a description without line breaks
                "ClientToken": "{% $substring($states.input.run & '-' & $states.input.data.data_digest, 0, 36) %}",
                "ModelPackageDescription": jsonata(f"$join({_RESULTS}, '; ')"),
                "InferenceSpecification": {
                    "Containers": [
                        {
                            "Image": "{% $states.input.models.candidate.image %}",
                            "ModelDataUrl": "{% $states.input.models.candidate.artifact_uri %}",
                        }
                    ],
                    "SupportedContentTypes": [CONTENT_TYPE],
                    "SupportedResponseMIMETypes": ["application/json"],
                },
                "CustomerMetadataProperties": {
                    "training-job": f"{{% {_CANDIDATE} %}}",
                    "data-digest": "{% $states.input.data.data_digest %}",
                    "accuracy": "{% $string($states.input.evaluation.candidate.accuracy) %}",
                },
            },
            iam_action="sagemaker:CreateModelPackage",
            iam_resources=[f"{arn}:model-package/{group}/*"],
            outputs=_adding(
                "approval",
                "{'package': $states.result.ModelPackageArn, "
                f"'deadline': $millis() + {self._config.retraining.approval_hours * 3600 * 1000}}}",
            ),
        )
        ask = self._publish(
            "AskForApproval",
            subject="'a model waits for approval'",
            lines=[
                _RESULTS,
                "'Approve or reject it in SageMaker Studio, or with'",
                r"""'aws sagemaker update-model-package --model-approval-status Approved --model-package-arn '
                  & $states.input.approval.package""",
                f"'Unanswered for {self._config.retraining.approval_hours} hours it counts as rejected.'",
            ],
        )
        ask.add_catch(failed, outputs=_FAILURE)  # nobody would know that an answer is waited for
        wait = self._wait("WaitForApproval", longest=Duration.hours(self._config.retraining.approval_hours))
        look = tasks.CallAwsService.jsonata(
            self._scope,
            "ReadApproval",
            service="sagemaker",
            action="describeModelPackage",
            parameters={"ModelPackageName": "{% $states.input.approval.package %}"},
            iam_action="sagemaker:DescribeModelPackage",
            iam_resources=[f"{arn}:model-package/{group}/*"],
            outputs=_adding(
                "approval", "$merge([$states.input.approval, {'status': $states.result.ModelApprovalStatus}])"
            ),
        )
        for state in (register, look):
            retry(state, ANY_FAILURE)
            state.add_catch(failed, outputs=_FAILURE)
        not_approved = self._end(
            _Ending(
                name="NotApproved",
                subject="'candidate not approved'",
                lines=[
                    _RESULTS,
                    "'Not released: the model package is ' & $states.input.approval.status",
                    f"'Nothing was changed: the endpoint serves ' & {_SERVED}",
                ],
            )
        )
        return register.next(ask).next(wait).next(look).next(
            sfn.Choice.jsonata(self._scope, "IsApproved?")
            .when(_condition("$states.input.approval.status = 'Approved'"), release.start)
            .when(
                _condition("$states.input.approval.status = 'Rejected' or $millis() > $states.input.approval.deadline"),
                not_approved,
            )
            .otherwise(wait)
        )  # fmt: skip

    # While something changes

    def _release(self) -> "_Release":
        broken = self._end(
            _Ending(
                name="Broken",
                subject="'ENDPOINT MUST BE LOOKED AT: release failed, and could not be undone'",
                lines=[
                    _WHY,
                    "'The endpoint may serve ' & $states.input.models.candidate.job & ', but the parameters name the '"
                    " & 'model before it, which the next deployment brings back.'",
                    "'Put it right with `python -m ops rollback`.'",
                ],
                error="ReleaseBroken",
            )
        )
        rolled_back = self._end(
            _Ending(
                name="RolledBack",
                subject="'release rolled back'",
                lines=[
                    _WHY,
                    f"'The endpoint serves ' & {_SERVED} & ' again, and the parameters name it.'",
                    "'Left behind, unused: endpoint config ' & $states.input.models.candidate.model & '-' "
                    "& $states.input.run",
                ],
                error="ReleaseRolledBack",
            )
        )
        restore = self._step(
            "RestoreEndpoint",
            payload="{'previous': $states.input.models.incumbent.endpoint_config}",
            outputs=_adding("release", "$merge([$states.input.release, $states.result.Payload])"),
            waits_for_endpoint=True,
        )
        restore.add_catch(broken, outputs=_FAILURE)
        undo = (
            sfn.Choice.jsonata(self._scope, "CanBeUndone?")
            # Twice undone, or served before this run began: nothing to go back to is known here
            .when(
                _condition("$states.input.models.is_served or ($states.input.restoring = true)"),
                broken,
            )
            .otherwise(
                sfn.Pass.jsonata(self._scope, "Undo", outputs=_adding("restoring", "true")).next(restore)
            )
        )  # fmt: skip
        start = self._step(
            "ReleaseModel",
            payload="""{
              'run': $states.input.run,
              'model': $states.input.models.candidate.model,
              'rollback': $states.input.input.rollback = true
            }""",
            outputs=_adding("release", "$states.result.Payload"),
            waits_for_endpoint=True,
        )
        wait = self._wait("WaitForEndpoint", longest=_LONGEST_UPDATE)
        look = tasks.CallAwsService.jsonata(
            self._scope,
            "ReadEndpoint",
            service="sagemaker",
            action="describeEndpoint",
            parameters={"EndpointName": self._config.endpoint_name},
            iam_action="sagemaker:DescribeEndpoint",
            iam_resources=[
                f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:endpoint/{self._config.endpoint_name}"
            ],
            outputs=_adding(
                "endpoint",
                """{
                  'status': $states.result.EndpointStatus,
                  'config': $states.result.EndpointConfigName,
                  'reason': $exists($states.result.FailureReason) ? $states.result.FailureReason : ''
                }""",
            ),
        )
        retry(look, ANY_FAILURE)
        smoke_test = self._step("SmokeTest", payload=f"{{'job': {_CANDIDATE}}}", outputs="{% $states.input %}")
        record = self._step("RecordRelease", payload=f"{{'job': {_CANDIDATE}}}", outputs="{% $states.input %}")
        went_back = sfn.Pass.jsonata(
            self._scope,
            "CanaryFailed",
            comment="SageMaker itself went back to what was served before",
            outputs=_adding(
                "failure",
                "{'error': 'CanaryFailed', 'cause': 'SageMaker ended the update: ' & $states.input.endpoint.reason}",
            ),
        )
        released = self._end(
            _Ending(
                name="Released",
                subject=f"'model released: ' & {_CANDIDATE}",
                lines=[
                    f"'The endpoint serves ' & {_CANDIDATE} & ' in place of ' & {_SERVED}",
                    f"$exists($states.input.evaluation) ? {_RESULTS} : 'Released without evaluation.'",
                    "'The parameters name it: the next deployment serves it too.'",
                    "'Undo it with `python -m ops rollback`.'",
                ],
            )
        )
        start.next(wait).next(look).next(
            sfn.Choice.jsonata(self._scope, "HasMoved?")
            .when(_condition("$states.input.endpoint.status in ['Updating', 'SystemUpdating', 'RollingBack']"), wait)
            .when(
                _condition("$states.input.endpoint.config = $states.input.release.endpoint_config "
                           "and $states.input.endpoint.status = 'InService'"),
                sfn.Choice.jsonata(self._scope, "IsRestored?")
                .when(_condition("($states.input.restoring = true)"), rolled_back)
                .otherwise(smoke_test),
            )
            .when(
                _condition("$states.input.endpoint.status = 'InService' "
                           "and $not(($states.input.restoring = true))"),
                went_back.next(rolled_back),
            )
            .otherwise(broken)
        )  # fmt: skip
        smoke_test.next(record).next(released)
        restore.next(wait)
        for state in (start, look, smoke_test, record):
            state.add_catch(undo, outputs=_FAILURE)
        return _Release(start=start, check=smoke_test)

    # What states are made of

    def _wait(self, name: str, *, longest: Duration) -> sfn.Wait:
        """Between two looks at what may take so long."""
        pause = Duration.seconds(poll_seconds(int(longest.to_seconds())))
        return sfn.Wait.jsonata(self._scope, name, time=sfn.WaitTime.duration(pause))

    def _step(
        self,
        name: str,
        *,
        payload: str,
        outputs: str,
        timeout: Duration = SHORT,
        waits_for_endpoint: bool = False,
    ) -> tasks.LambdaInvoke:
        step = invoke(
            self._scope,
            name,
            self._functions[name],
            payload=jsonata(payload),
            outputs=outputs,
            timeout=timeout,
            retries=(*INVOCATION, TRANSIENT),
        )
        if waits_for_endpoint:  # somebody else's update, such as a deployment's, takes its time
            step.add_retry(
                errors=["EndpointBusyError"], interval=_BUSY_POLL, max_attempts=60, backoff_rate=1
            )  # fmt: skip
        return step

    def _publish(self, name: str, *, subject: str, lines: list[str]) -> tasks.SnsPublish:
        return publish(
            self._scope,
            name,
            self._topic,
            subject=f"'Scones Unlimited {self._config.name}: ' & {subject}",
            lines=[*lines, _REFUSED, _EXECUTION],
        )

    def _end(self, ending: _Ending) -> tasks.SnsPublish:
        """Tell the operators, then end; a topic that cannot be reached must not hide how the run ended."""
        notify = self._publish(f"Notify{ending.name}", subject=ending.subject, lines=ending.lines)
        last: sfn.State = (
            sfn.Fail.jsonata(self._scope, ending.name, error=ending.error, cause=jsonata(_WHY))
            if ending.error
            else sfn.Succeed.jsonata(self._scope, ending.name)
        )
        notify.add_catch(last, outputs="{% $states.input %}")
        notify.next(last)
        return notify


@dataclass(frozen=True)
class _Release:
    """Where the release begins, and where it goes on if the endpoint has moved already."""

    start: tasks.LambdaInvoke
    check: tasks.LambdaInvoke


def _condition(expression: str) -> sfn.Condition:
    return sfn.Condition.jsonata(jsonata(expression))
