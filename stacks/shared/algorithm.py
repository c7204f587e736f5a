"""The algorithms that `training.algorithm` selects from: containers, instances, channels and hyperparameters.

Plain data without CDK. `image-classification` is SageMaker's built-in algorithm, as in the original. `scikit-learn` is
the model of `model_src/` in SageMaker's prebuilt container, which needs no GPU.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lambda_src.shared import algorithms
from lambda_src.shared.algorithms import Container
from stacks.shared import prefixes, registry_accounts

CONTENT_TYPE = "application/x-image"  # of requests, for both algorithms; responses are JSON
_DATA_CHANNELS = {
    # All end with a slash: the prefix `train` would also match `train_lst`
    "train": prefixes.TRAIN,
    "validation": prefixes.TEST,
    "train_lst": prefixes.TRAIN_LST,
    "validation_lst": prefixes.TEST_LST,
}

# For 32x32 images and about a thousand samples. The recipe is that of the ResNet paper for CIFAR
# (He et al. 2015, https://arxiv.org/abs/1512.03385, section 4.2).
_SCRATCH: Mapping[str, str] = {
    "image_shape": "3,32,32",  # the size of the images; the algorithm's default is 3,224,224
    # The smallest network for small images (0.27 million weights). The algorithm's default, 152 layers, is a network
    # for 224x224 with 58 million weights, too many for a thousand images.
    "num_layers": "20",
    # 31 steps per epoch; with the paper's 128 there would be 8
    "mini_batch_size": "32",
    # The paper's 0.1 for a batch of 128, scaled linearly to this batch (Goyal et al. 2017,
    # https://arxiv.org/abs/1706.02677)
    "learning_rate": "0.025",
    "momentum": "0.9",  # the paper's; the documented default is 0
    "weight_decay": "0.0001",  # the paper's
    # About 3,100 steps; the original's 30 epochs end before the learning rate falls. The artifact is that of the best
    # epoch, so too many epochs cost seconds, not accuracy.
    "epochs": "100",
    "lr_scheduler_factor": "0.1",
    "augmentation_type": "crop",  # with mirror images; changes of colour and angle help little at 32x32
}
# Only the last layer starts untrained; the others were trained on ImageNet at 224x224
_TRANSFER: Mapping[str, str] = {
    "use_pretrained_model": "1",
    "num_layers": "18",  # the smallest that comes pretrained
    "image_shape": "3,224,224",
    "resize": "256",  # the shorter side; it must exceed the crop, and 256 to 224 is ImageNet's usual ratio
    "mini_batch_size": "32",
    "learning_rate": "0.001",  # larger steps would destroy the pretrained weights
    "momentum": "0.9",
    "weight_decay": "0.0001",
    "epochs": "15",  # pretrained weights converge within a few
    "lr_scheduler_factor": "0.1",
    "augmentation_type": "crop",
}


@dataclass(frozen=True)
class Algorithm:
    """How an algorithm is trained and served.

    container: the image's repository and the variables that serving needs.
    tag: of the image.
    registry_accounts: the account that holds the image, by region.
    construct_id: prefix of the algorithm's logical ids in a template.
    channels: the bucket's prefix for each data channel.
    takes_code: whether a further channel contains `model_src/`, whose train.py is the entry point.
    presets: hyperparameters by the preset's name.
    hyperparameter_names: every hyperparameter that may be set.
    metric: a regular expression whose group is the accuracy in the job's log; empty if SageMaker defines the metric.
    instance_types: the default, in order of preference.
    instance_pattern: a regular expression of all supported instance types, which `instances` describes in words.
    """

    container: Container
    tag: str
    registry_accounts: Mapping[str, str]
    construct_id: str
    presets: Mapping[str, Mapping[str, str]]
    hyperparameter_names: frozenset[str]
    instance_types: tuple[str, ...]
    instance_pattern: str
    instances: str
    channels: Mapping[str, str]
    needs_gpu: bool = False
    takes_code: bool = False
    metric: str = ""

    @property
    def name(self) -> str:
        return self.container.algorithm

    def check_training_instance(self, instance_type: str) -> None:
        """Raise ValueError for an instance type that the algorithm does not support."""
        if not re.fullmatch(self.instance_pattern, instance_type):
            raise ValueError(
                f"{self.name} trains on {self.instances}, not on {instance_type}: choose one of those, or another "
                "training.algorithm"
            )


IMAGE_CLASSIFICATION = Algorithm(
    container=algorithms.IMAGE_CLASSIFICATION,
    tag="1",
    registry_accounts=registry_accounts.IMAGE_CLASSIFICATION,
    construct_id="BuiltinImage",
    presets={"scratch": _SCRATCH, "transfer": _TRANSFER},
    # https://docs.aws.amazon.com/sagemaker/latest/dg/IC-Hyperparameter.html
    hyperparameter_names=frozenset(
        {
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
    ),
    instance_types=("ml.p3.2xlarge", "ml.g4dn.xlarge", "ml.g5.xlarge"),
    # https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html#IC-instances
    instance_pattern=r"ml\.(p2|p3|p3dn|g4dn|g5)\..+",
    instances="GPUs only, of the families P2, P3, G4dn and G5",
    needs_gpu=True,
    channels=_DATA_CHANNELS,
)
SCIKIT_LEARN = Algorithm(
    container=algorithms.SCIKIT_LEARN,
    tag="1.9-0-cpu-py3",
    registry_accounts=registry_accounts.SCIKIT_LEARN,
    construct_id="ScikitLearnImage",
    presets={"scratch": {}},  # the defaults are model_src/train.py's
    hyperparameter_names=frozenset(),
    instance_types=("ml.m5.large",),
    instance_pattern=r"ml\.[cmrt]\d.*",
    instances="CPUs, of the families C, M, R and T",
    channels=_DATA_CHANNELS,
    takes_code=True,
    metric=r"validation:accuracy=([0-9.]+)",
)
ALGORITHMS = {algorithm.name: algorithm for algorithm in (IMAGE_CLASSIFICATION, SCIKIT_LEARN)}

# Advice for accounts without a GPU quota, which includes every new account
WITHOUT_GPU = f'set training.algorithm: "{SCIKIT_LEARN.name}" in cdk.json, which needs no GPU'
