"""Renders the definition of the retraining workflow from retraining.asl.yaml and messages.yaml."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stacks.config import EnvironmentConfig
from stacks.retraining.training_job import (
    INSTANCE_REFUSED,
    longest_job_minutes,
    training_job_request,
    training_resources,
)
from stacks.shared import prefixes
from stacks.shared.algorithm import CONTENT_TYPE
from stacks.shared.definition import Definition, read_definition, read_messages
from stacks.shared.retry_policy import INVOCATION, RetryPolicy, poll_seconds, retriers
from stacks.shared.transform_job import transform_job_request

_FOLDER = Path(__file__).parent
# An update of an endpoint ends after eight hours at the latest:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html
_LONGEST_UPDATE_SECONDS = 8 * 3600

# Errors for which another attempt may succeed. ClientError is any refusal by AWS; a permanent one costs three attempts.
_TRANSIENT = RetryPolicy(
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
# Another update, such as a deployment's, may take up to an hour
_BUSY = {"ErrorEquals": ["EndpointBusyError"], "IntervalSeconds": 60, "MaxAttempts": 60, "BackoffRate": 1}

# A JSONata expression for the results of both models, for messages and for the Model Registry
_RESULTS = """([
  'Candidate ' & $states.input.models.candidate.job
    & ': accuracy ' & $formatNumber($states.input.evaluation.candidate.accuracy, '0.0000')
    & ', calibration error ' & $formatNumber($states.input.evaluation.candidate.calibration_error, '0.0000'),
  'Incumbent ' & $states.input.models.incumbent.job
    & ': accuracy ' & $formatNumber($states.input.evaluation.incumbent.accuracy, '0.0000')
    & ', calibration error ' & $formatNumber($states.input.evaluation.incumbent.calibration_error, '0.0000'),
  'Both on the same ' & $states.input.evaluation.candidate.images & ' validation images.'
])"""


def retraining_definition(config: EnvironmentConfig, *, is_encrypted: bool) -> Definition:
    """is_encrypted: whether jobs use the key that the substitution `KeyArn` names."""
    approval_seconds = config.retraining.approval_hours * 3600
    longest_job_seconds = longest_job_minutes(config) * 60
    retries = retriers([*INVOCATION, _TRANSIENT])
    types = config.training.instance_types
    key_arn = "${KeyArn}" if is_encrypted else ""
    return read_definition(
        _FOLDER / "retraining.asl.yaml",
        **read_messages(
            _FOLDER / "messages.yaml",
            Environment=config.name,
            ApprovalHours=config.retraining.approval_hours,
            Results=_RESULTS,
        ),
        ApprovalMilliseconds=approval_seconds * 1000,
        ApprovalPollSeconds=poll_seconds(approval_seconds),
        ContentType=CONTENT_TYPE,
        EndpointName=config.endpoint_name,
        EndpointPollSeconds=poll_seconds(_LONGEST_UPDATE_SECONDS),
        InstanceRefused=INSTANCE_REFUSED,
        InstanceTypes=json.dumps(types),
        ModelPackageGroup=config.model_package_group,
        NeedsApproval="true" if config.retraining.approval else "($states.input.input.approval = true)",
        OtherInstanceTypes=len(types) - 1,
        Results=_RESULTS,
        RetrainingPrefix=prefixes.RETRAINING,
        # The model has just been released, so a serverless endpoint has no container yet
        RetrySmokeTest=[*retriers(config.endpoint.cold_start_retries), *retries],
        RetryStep=retries,
        RetryStepOrBusy=[*retries, _BUSY],
        # Evaluation, release, and waiting for other updates of the endpoint take at most 12 hours
        TimeoutSeconds=longest_job_seconds + approval_seconds + 12 * 3600,
        TrainingJob=_training_job(config, types, key_arn=key_arn),
        TrainingPollSeconds=poll_seconds(longest_job_seconds),
        TransformCandidate=_transform_job(config, "candidate", key_arn=key_arn),
        TransformIncumbent=_transform_job(config, "incumbent", key_arn=key_arn),
    )


def _training_job(config: EnvironmentConfig, instance_types: Sequence[str], *, key_arn: str) -> Any:
    # Selects the resources of the first instance type that has not been refused
    resources = json.dumps([training_resources(name, key_arn) for name in instance_types])
    chosen: Any = f"{{% {resources}[$count($states.input.refused)] %}}"
    return training_job_request(
        config,
        job_name="{% $states.input.training.job %}",
        bucket="${BucketName}",
        role_arn="${SageMakerRoleArn}",
        image="${TrainingImage}",
        num_training_samples="{% $string($states.input.data.train) %}",
        resources=chosen,
        checkpoint_uri=(
            f"{{% 's3://${{BucketName}}/{prefixes.MODELS}' & $states.input.training.job & '/checkpoints/' %}}"
        ),
        tags={"data-digest": "{% $states.input.data.data_digest %}"},
        key_arn=key_arn,
    )


def _transform_job(config: EnvironmentConfig, model: str, *, key_arn: str) -> Any:
    return transform_job_request(
        config,
        job_name=f"{{% '{config.stage_name}-' & $states.input.run & '-{model}' %}}",
        model=f"{{% $states.input.models.{model}.model %}}",
        source_type="ManifestFile",
        source_uri="{% 's3://${BucketName}/' & $states.input.data.validation_manifest %}",
        output_uri=f"{{% 's3://${{BucketName}}/{prefixes.RETRAINING}' & $states.input.run & '/{model}' %}}",
        key_arn=key_arn,
    )
