"""The Batch Transform request for bulk runs, for the evaluation of a candidate, and for the first model's baseline.

A plain function without CDK or boto3, as in stacks/retraining/training_job.py. lambda_src/shared/transform_output.py
reads the job's output.
"""

from typing import TYPE_CHECKING, cast

from stacks.config import EnvironmentConfig
from stacks.shared.algorithm import CONTENT_TYPE
from stacks.shared.local_storage import volume_key

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import S3DataTypeType, TransformInstanceTypeType
    from mypy_boto3_sagemaker.type_defs import CreateTransformJobRequestTypeDef

# The only format that the built-in algorithm documents for Batch Transform
# https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html#IC-inputoutput
ACCEPT = "application/jsonlines"
MAX_PAYLOAD_MB = 6  # the limit of an endpoint's request, too


def transform_job_request(
    config: EnvironmentConfig,
    *,
    job_name: str,
    model: str,
    source_type: str,
    source_uri: str,
    output_uri: str,
    instance_count: int = 1,
    key_arn: str = "",
) -> "CreateTransformJobRequestTypeDef":
    """The CreateTransformJob request. All strings may also be expressions of a state machine.

    source_type, source_uri: `S3Prefix` and the prefix of all images' URIs, or `ManifestFile` and the URI of a list.
    output_uri: the prefix of the outputs, without a slash at its end.
    key_arn: the KMS key of the environment, if it has one.
    """
    instance_type = config.bulk.transform_instance_type
    request: CreateTransformJobRequestTypeDef = {
        "TransformJobName": job_name,
        "ModelName": model,
        "BatchStrategy": "SingleRecord",
        "MaxPayloadInMB": MAX_PAYLOAD_MB,
        "TransformInput": {
            "ContentType": CONTENT_TYPE,
            "DataSource": {"S3DataSource": {"S3DataType": cast("S3DataTypeType", source_type), "S3Uri": source_uri}},
        },
        "TransformOutput": {"Accept": ACCEPT, "S3OutputPath": output_uri},
        "TransformResources": {
            "InstanceType": cast("TransformInstanceTypeType", instance_type),
            "InstanceCount": instance_count,
        },
        "Tags": [
            {"Key": "application", "Value": "scones-unlimited"},
            {"Key": "environment", "Value": config.name},
        ],
    }
    if key_arn:
        # Without it, SageMaker would encrypt with S3's own key instead of the bucket's
        request["TransformOutput"]["KmsKeyId"] = key_arn
        if volume := volume_key(instance_type, key_arn):
            request["TransformResources"]["VolumeKmsKeyId"] = volume["VolumeKmsKeyId"]
    return request
