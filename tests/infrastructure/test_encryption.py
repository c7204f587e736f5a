"""prod's key encrypts everything at rest, and only roles that may use the data may use the key."""

from collections.abc import Iterator
from typing import Any

import pytest

from scanners.policies import Environment
from stacks.config import EnvironmentConfig, parse_environment
from stacks.retraining.training_job import training_job_request, training_resources
from stacks.shared.local_storage import has_local_storage
from tests.infrastructure.conftest import Template, definition_of


@pytest.fixture
def prod(environment: str) -> None:
    if environment != "prod":
        pytest.skip("dev has no key of its own")


def is_key(value: Any) -> bool:
    return "Key" in str(value)


def test_bucket_topic_logs_and_captures_are_encrypted_with_the_key(
    prod: None, data: Template, model: Template, workflow: Template
) -> None:
    (rule,) = data.named("AWS::S3::Bucket", "Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rule["BucketKeyEnabled"] is True
    assert data.only("AWS::KMS::Key")["EnableKeyRotation"] is True
    assert is_key(data.only("AWS::SNS::Topic")["KmsMasterKeyId"])
    config = model.only("AWS::SageMaker::EndpointConfig")
    assert is_key(config["KmsKeyId"])
    assert is_key(config["DataCaptureConfig"]["KmsKeyId"])
    for group in workflow.resources("AWS::Logs::LogGroup").values():
        assert is_key(group["KmsKeyId"])


def test_every_access_to_the_bucket_is_logged(prod: None, data: Template) -> None:
    bucket = data.named("AWS::S3::Bucket", "Bucket")
    assert "AccessLogs" in str(bucket["LoggingConfiguration"]["DestinationBucketName"])


def test_a_role_uses_the_key_for_what_it_may_read_and_write_and_through_that_service_only(
    prod: None, assembly: Any, environment: str
) -> None:
    used = 0
    for policy in Environment(assembly, environment).role_policies():
        actions = {
            a for s in policy.statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
        }
        uses = {s["Sid"]: s for s in policy.statements if s.get("Sid", "").startswith("UseKeyFor")}
        assert ("UseKeyForS3" in uses) == bool(actions & {"s3:GetObject", "s3:PutObject"}), policy.owner
        assert ("UseKeyForSNS" in uses) == ("sns:Publish" in actions), policy.owner
        if use := uses.get("UseKeyForS3"):
            assert ("kms:GenerateDataKey" in use["Action"]) == ("s3:PutObject" in actions), policy.owner
        for use in uses.values():
            used += 1
            assert use["Resource"].startswith("arn:aws:kms:")
            (service,) = use["Condition"]["StringEquals"].values()
            assert service in {"s3.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com"}
    assert used >= 5


def request(config: EnvironmentConfig, key_arn: str) -> dict[str, Any]:
    return {
        **training_job_request(
            config,
            job_name="j",
            bucket="b",
            role_arn="r",
            image="i",
            num_training_samples="10",
            resources=training_resources(config.training.instance_types[0], key_arn),
            checkpoint_uri="s3://b/models/j/checkpoints/",
            tags={},
            key_arn=key_arn,
        )
    }


@pytest.mark.parametrize(("instance_type", "volume"), [("ml.p3.2xlarge", "key"), ("ml.g4dn.xlarge", None)])
def test_a_training_job_encrypts_its_output_and_its_volume_if_that_supports_a_key(
    instance_type: str, volume: str | None
) -> None:
    config = parse_environment("prod", {"training": {"instance_types": [instance_type]}})
    with_key = request(config, "key")
    assert with_key["OutputDataConfig"]["KmsKeyId"] == "key"
    assert with_key["ResourceConfig"].get("VolumeKmsKeyId") == volume
    assert "KmsKeyId" not in str(request(config, ""))


def transform_jobs(value: Any) -> Iterator[dict[str, Any]]:
    """The requests of all transform jobs within a state machine's definition."""
    if isinstance(value, dict):
        if str(value.get("Resource")).endswith(":sagemaker:createTransformJob.sync"):
            yield value["Arguments"]
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from transform_jobs(member)


def test_every_transform_job_encrypts_its_output_and_its_volume(
    prod: None, bulk: Template, retraining: Template
) -> None:
    machines = [
        m for template in (bulk, retraining) for m in template.resources("AWS::StepFunctions::StateMachine").values()
    ]
    jobs = [job for machine in machines for job in transform_jobs(definition_of(machine))]
    assert len(jobs) == 3
    for job in jobs:
        assert is_key(job["TransformOutput"]["KmsKeyId"])
        assert is_key(job["TransformResources"]["VolumeKmsKeyId"])


@pytest.mark.parametrize(
    ("instance_type", "local"),
    [
        ("ml.m5.large", False),
        ("ml.m5d.large", True),
        ("ml.c6gd.xlarge", True),
        ("ml.c6g.xlarge", False),
        ("ml.g4dn.xlarge", True),
        ("ml.p3.2xlarge", False),
        ("ml.p3dn.24xlarge", True),
        ("ml.trn1.2xlarge", True),
    ],
)
def test_instances_with_disks_of_their_own_take_no_key(instance_type: str, local: bool) -> None:
    assert has_local_storage(instance_type) is local
