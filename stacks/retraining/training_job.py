"""The training job of SageMaker's built-in Image Classification: its hyperparameters and its request.

Plain functions without CDK or boto3: what starts a job, from a laptop or from a state machine, starts this one.
Hyperparameters: https://docs.aws.amazon.com/sagemaker/latest/dg/IC-Hyperparameter.html
"""

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from stacks.config import ConfigError, EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.algorithm import ALGORITHM, CONTENT_TYPE
from stacks.shared.local_storage import volume_key

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import ChannelTypeDef, CreateTrainingJobRequestTypeDef, ResourceConfigTypeDef


# Both channel pairs end in a slash: without it `train` would also fetch what lies under `train_lst`
CHANNELS = {
    "train": prefixes.TRAIN,
    "validation": prefixes.TEST,
    "train_lst": prefixes.TRAIN_LST,
    "validation_lst": prefixes.TEST_LST,
}

# How SageMaker says that another instance type may do: the account's quota for this one, the region, the API's list of
# types, or AWS's capacity. Over an error's name and message, or a failed job's reason. docs/fidelity.md has the sources
INSTANCE_REFUSED = "ResourceLimitExceeded|CapacityError|[Ii]nstance ?[Tt]ype"

# A spot job may wait this much longer than it may run
SPOT_WAIT_MINUTES = 120
VOLUME_GB = 10  # the container's images, checkpoints and model; the data set is a few MB

# For 32x32 images and about a thousand samples. The recipe is that of the ResNet paper for CIFAR
# (He et al. 2015, https://arxiv.org/abs/1512.03385, section 4.2).
_SCRATCH: Mapping[str, str] = {
    "image_shape": "3,32,32",  # as the images are; the algorithm's default is 3,224,224
    # The smallest of the networks for small images (0.27 million weights). The algorithm's default of 152 layers
    # is one of those for 224x224 and has 58 million, which a thousand images cannot settle.
    "num_layers": "20",
    # A batch of 128 would leave 8 steps an epoch; 32 gives 31
    "mini_batch_size": "32",
    # The paper's 0.1 for a batch of 128, scaled to the batch (Goyal et al. 2017, https://arxiv.org/abs/1706.02677)
    "learning_rate": "0.025",
    "momentum": "0.9",  # the paper's; the documented default is 0
    "weight_decay": "0.0001",  # the paper's
    # About 3,100 steps; the original's 30 epochs end before the learning rate may fall. The artifact is the best
    # epoch's, so too many cost seconds, not accuracy.
    "epochs": "100",
    "lr_scheduler_factor": "0.1",
    "augmentation_type": "crop",  # with mirror images; colours and angles carry little in 32x32
}
# Only the last layer starts untrained; the others were trained on ImageNet's 224x224
_TRANSFER: Mapping[str, str] = {
    "use_pretrained_model": "1",
    "num_layers": "18",  # the smallest that comes pretrained
    "image_shape": "3,224,224",
    "resize": "256",  # of the shorter side, which must exceed the crop; also ImageNet's own ratio
    "mini_batch_size": "32",
    "learning_rate": "0.001",  # larger steps would undo what the weights know
    "momentum": "0.9",
    "weight_decay": "0.0001",
    "epochs": "15",  # pretrained features settle within a few
    "lr_scheduler_factor": "0.1",
    "augmentation_type": "crop",
}
PRESETS = {"scratch": _SCRATCH, "transfer": _TRANSFER}

# The container refuses any other name, but only minutes later
_KNOWN_NAMES = {
    *_SCRATCH,
    *_TRANSFER,
    "beta_1",
    "beta_2",
    "checkpoint_frequency",
    "early_stopping",
    "early_stopping_min_epochs",
    "early_stopping_patience",
    "early_stopping_tolerance",
    "eps",
    "gamma",
    "kv_store",
    "lr_scheduler_step",
    "multi_label",
    "optimizer",
    "precision_dtype",
    "top_k",
    "use_weighted_loss",
}
_FROM_DATA_SET = {"num_classes", "num_training_samples"}


def hyperparameters(config: EnvironmentConfig) -> dict[str, str]:
    """The environment's preset with its overrides, as the API takes them: every value a string.

    `num_training_samples` is missing: it comes from the data set. Raises ConfigError.
    """
    overrides = {name: str(value) for name, value in config.training.hyperparameters.items()}
    for name in overrides:
        where = f"environment {config.name!r}: training.hyperparameters.{name}"
        if name in _FROM_DATA_SET:
            raise ConfigError(f"{where}: follows from the data set; leave it out")
        if name not in _KNOWN_NAMES:
            nearest = " or ".join(difflib.get_close_matches(name, _KNOWN_NAMES)) or ", ".join(sorted(_KNOWN_NAMES))
            raise ConfigError(f"{where}: the algorithm has no such hyperparameter; did you mean {nearest}?")
    values = {**PRESETS[config.training.preset], **overrides, "num_classes": str(len(config.classes))}
    values.setdefault("lr_scheduler_step", _halfway_and_three_quarters(values["epochs"]))
    return {name: value for name, value in sorted(values.items()) if value}


def parameters_digest(config: EnvironmentConfig) -> str:
    """Eight hexadecimal digits of what, besides the data, decides the model; the instance it is trained on does not."""
    decisive = json.dumps([ALGORITHM, hyperparameters(config)], sort_keys=True).encode()
    return hashlib.sha256(decisive).hexdigest()[:8]


def _halfway_and_three_quarters(epochs: str) -> str:
    """Where the paper lets the learning rate fall; empty if there are too few epochs for both."""
    count = int(epochs) if epochs.isdecimal() else 0
    return f"{count // 2},{count * 3 // 4}" if count >= 4 else ""


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
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": role_arn,
        "HyperParameters": {**hyperparameters(config), "num_training_samples": num_training_samples},
        "InputDataConfig": [_channel(name, f"s3://{bucket}/{prefix}") for name, prefix in CHANNELS.items()],
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


def _channel(name: str, uri: str) -> "ChannelTypeDef":
    return {
        "ChannelName": name,
        "ContentType": CONTENT_TYPE,
        "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        },
    }
