"""The CreateTrainingJob request for the environment's algorithm.

Plain functions without CDK or boto3, because both `data_prep train` and the retraining state machine send it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from lambda_src.shared.algorithms import ACCURACY_METRIC
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.algorithm import CONTENT_TYPE, Algorithm
from stacks.shared.hyperparameters import hyperparameters
from stacks.shared.local_storage import volume_key
from stacks.shared.model_code import code_prefix

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import (
        AlgorithmSpecificationTypeDef,
        ChannelTypeDef,
        CreateTrainingJobRequestTypeDef,
        ResourceConfigTypeDef,
    )

CODE_CHANNEL = "code"


# Matches an error's name and message, or a failed job's reason, if another instance type may succeed: the account has
# no quota for this one, the region or the API does not know it, or AWS has no capacity. Sources: docs/fidelity.md
INSTANCE_REFUSED = "ResourceLimitExceeded|CapacityError|[Ii]nstance ?[Tt]ype"

# A spot job may wait this much longer than it may run
SPOT_WAIT_MINUTES = 120
VOLUME_GB = 10  # for the data set of a few MB, checkpoints and the model


def training_job_request(
    config: EnvironmentConfig,
    *,
    job_name: str,
    bucket: str,
    role_arn: str,
    image: str,
    num_training_samples: str,
    resources: "ResourceConfigTypeDef",
    checkpoint_uri: str,
    tags: Mapping[str, str],
    key_arn: str = "",
) -> "CreateTrainingJobRequestTypeDef":
    """The CreateTrainingJob request. Any argument may also be an expression of a state machine.

    resources: `training_resources` of the instance type to train on.
    checkpoint_uri: the prefix, with a slash at its end, from which an interrupted spot job resumes.
    key_arn: the KMS key of the environment, if it has one.
    """
    training = config.training
    max_runtime_seconds = training.max_runtime_minutes * 60
    request: CreateTrainingJobRequestTypeDef = {
        "TrainingJobName": job_name,
        "AlgorithmSpecification": _specification(config.algorithm, image),
        "RoleArn": role_arn,
        "HyperParameters": {**hyperparameters(config), "num_training_samples": num_training_samples},
        "InputDataConfig": _channels(config.algorithm, bucket),
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/{prefixes.MODELS}"},
        "ResourceConfig": resources,
        "StoppingCondition": {"MaxRuntimeInSeconds": max_runtime_seconds},
        # The container needs no network: SageMaker copies the data, and the image contains the pretrained weights
        "EnableNetworkIsolation": True,
        "Tags": [
            {"Key": key, "Value": value}
            for key, value in {"application": "scones-unlimited", "environment": config.name, **tags}.items()
        ],
    }
    if key_arn:
        # Without it, SageMaker would encrypt with S3's own key instead of the bucket's
        request["OutputDataConfig"]["KmsKeyId"] = key_arn
    if training.spot:
        request["EnableManagedSpotTraining"] = True
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = max_runtime_seconds + SPOT_WAIT_MINUTES * 60
        request["CheckpointConfig"] = {"S3Uri": checkpoint_uri}
    return request


def training_resources(instance_type: str, key_arn: str = "") -> "ResourceConfigTypeDef":
    """One instance of this type, whose volume the environment's key encrypts if the type accepts a key."""
    resources = {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": VOLUME_GB}
    return cast("ResourceConfigTypeDef", {**resources, **volume_key(instance_type, key_arn)})


def longest_job_minutes(config: EnvironmentConfig) -> int:
    """How long a job can take, including an hour for its start and the upload of its artifact."""
    return config.training.max_runtime_minutes + (SPOT_WAIT_MINUTES if config.training.spot else 0) + 60


def _specification(algorithm: Algorithm, image: str) -> "AlgorithmSpecificationTypeDef":
    specification: AlgorithmSpecificationTypeDef = {"TrainingImage": image, "TrainingInputMode": "File"}
    if algorithm.takes_code:
        # Replaces the container's own entry point, which would install the code with pip
        specification["ContainerEntrypoint"] = ["python3", f"/opt/ml/input/data/{CODE_CHANNEL}/train.py"]
    if algorithm.metric:
        specification["MetricDefinitions"] = [{"Name": ACCURACY_METRIC, "Regex": algorithm.metric}]
    return specification


def _channels(algorithm: Algorithm, bucket: str) -> "list[ChannelTypeDef]":
    prefixes_by_channel = {**algorithm.channels, **({CODE_CHANNEL: code_prefix()} if algorithm.takes_code else {})}
    return [_channel(name, f"s3://{bucket}/{prefix}") for name, prefix in prefixes_by_channel.items()]


def _channel(name: str, uri: str) -> "ChannelTypeDef":
    return {
        "ChannelName": name,
        "ContentType": CONTENT_TYPE,  # only the built-in algorithm reads it
        "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        },
    }
