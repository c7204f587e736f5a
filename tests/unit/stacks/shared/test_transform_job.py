"""The request of a Batch Transform job, for bulk runs, retraining and data_prep."""

from typing import Any

import botocore.session
import pytest

from local import strict
from stacks.config import EnvironmentConfig, parse_environment
from stacks.shared.transform_job import transform_job_request


def request(config: EnvironmentConfig, **changes: Any) -> dict[str, Any]:
    inputs = {"source_type": "S3Prefix", "source_uri": "s3://b/test/", "output_uri": "s3://b/out", **changes}
    return {**transform_job_request(config, job_name="j", model="m", **inputs)}


def environment(instance_type: str) -> EnvironmentConfig:
    return parse_environment("prod", {"bulk": {"transform_instance_type": instance_type}})


def test_sagemaker_takes_the_request() -> None:
    service = botocore.session.get_session().get_service_model("sagemaker")
    operation = service.operation_model("CreateTransformJob")
    strict.check(operation, request(environment("ml.m5.xlarge"), key_arn="key"))


def test_it_requests_the_documented_format() -> None:
    assert request(environment("ml.m5.large"))["TransformOutput"]["Accept"] == "application/jsonlines"


@pytest.mark.parametrize(("instance_type", "volume"), [("ml.m5.large", "key"), ("ml.g4dn.xlarge", None)])
def test_it_encrypts_its_output_and_its_volume_if_that_supports_a_key(instance_type: str, volume: str | None) -> None:
    config = environment(instance_type)
    with_key = request(config, key_arn="key")
    assert with_key["TransformOutput"]["KmsKeyId"] == "key"
    assert with_key["TransformResources"].get("VolumeKmsKeyId") == volume
    assert "KmsKeyId" not in str(request(config))


def test_it_is_tagged_with_its_environment() -> None:
    tags = {tag["Key"]: tag["Value"] for tag in request(environment("ml.m5.large"))["Tags"]}
    assert tags == {"application": "scones-unlimited", "environment": "prod"}
