"""The training job of the environment's algorithm: its request.

Plain functions without CDK or boto3: what starts a job, from a laptop or from a state machine, starts this one.
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


# How SageMaker says that another instance type may do: the account's quota for this one, the region, the API's list of
# types, or AWS's capacity. Over an error's name and message, or a failed job's reason. docs/fidelity.md has the sources
INSTANCE_REFUSED = "ResourceLimitExceeded|CapacityError|[Ii]nstance ?[Tt]ype"

# A spot job may wait this much longer than it may run
SPOT_WAIT_MINUTES = 120
VOLUME_GB = 10  # the container's images, checkpoints and model; the data set is a few MB


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
    """The CreateTrainingJob request. Any input may also be an expression of a state machine.

    resources: `training_resources` of the instance type to train on.
    checkpoint_uri: the URI, ending in a slash, below which an interrupted spot job finds its last epoch.
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
        # The container needs no network: SageMaker moves the data, and the pretrained weights come with the image
        "EnableNetworkIsolation": True,
        "Tags": [
            {"Key": key, "Value": value}
            for key, value in {"application": "scones-unlimited", "environment": config.name, **tags}.items()
        ],
    }
    if key_arn:
        # Left out, SageMaker would take S3's own key instead of the bucket's
        request["OutputDataConfig"]["KmsKeyId"] = key_arn
    if training.spot:
        request["EnableManagedSpotTraining"] = True
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = max_runtime_seconds + SPOT_WAIT_MINUTES * 60
        request["CheckpointConfig"] = {"S3Uri": checkpoint_uri}
    return request


def training_resources(instance_type: str, key_arn: str = "") -> "ResourceConfigTypeDef":
    """One instance of a type, with a volume that the environment's key encrypts where the type takes one."""
    resources = {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": VOLUME_GB}
    return cast("ResourceConfigTypeDef", {**resources, **volume_key(instance_type, key_arn)})


def longest_job_minutes(config: EnvironmentConfig) -> int:
    """How long the job can be under way, with an hour for its start and for the upload of what it made."""
    return config.training.max_runtime_minutes + (SPOT_WAIT_MINUTES if config.training.spot else 0) + 60


def _specification(algorithm: Algorithm, image: str) -> "AlgorithmSpecificationTypeDef":
    specification: AlgorithmSpecificationTypeDef = {"TrainingImage": image, "TrainingInputMode": "File"}
    if algorithm.takes_code:
        # Before the container's own, which would install the code with pip
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
        "ContentType": CONTENT_TYPE,  # which only the built-in algorithm looks at
        "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        },
    }
