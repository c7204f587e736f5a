"""The table of permissions: the permissions of a request depend on its members."""

from typing import Any

import pytest

from local.permissions import CALLER, EXECUTION_ROLE, TABLE, Call, needed, own_action

SAGEMAKER = "arn:aws:sagemaker:us-east-1:111122223333:"
KEY = "arn:aws:kms:us-east-1:111122223333:key/k"
ROLE = "arn:aws:iam::111122223333:role/r"
ALARMS = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}}
ARTIFACTS = {"S3OutputPath": "s3://b/models/"}


def call(operation: str, endpoint_config: Any = None, **request: Any) -> Call:
    return Call(operation, request, "us-east-1", "111122223333", endpoint_config or {})


def asked(*arguments: Any, **request: Any) -> set[tuple[str, str, tuple[str, ...]]]:
    permissions = needed(call(*arguments, **request))
    return {(p.action, p.resource.removeprefix(SAGEMAKER), p.principals) for p in permissions}


def test_every_row_has_a_source() -> None:
    for row in TABLE:
        assert row.source.startswith(("https://docs.aws.amazon.com/", "https://github.com/aws/")), row


@pytest.mark.parametrize(
    ("operation", "request_", "resource"),
    [
        ("DescribeEndpoint", {"EndpointName": "e"}, "endpoint/e"),
        ("UpdateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}, "endpoint/e"),
        ("UpdateEndpointWeightsAndCapacities", {"EndpointName": "e"}, "endpoint/e"),
        ("InvokeEndpoint", {"EndpointName": "e"}, "endpoint/e"),
        ("CreateEndpointConfig", {"EndpointConfigName": "c"}, "endpoint-config/c"),
        ("CreateTransformJob", {"ModelName": "m", "TransformJobName": "t"}, "transform-job/t"),
        ("StopTrainingJob", {"TrainingJobName": "t"}, "training-job/t"),
        ("CreateModelPackage", {"ModelPackageGroupName": "g"}, "model-package/g/1"),
        ("DescribeModelPackage", {"ModelPackageName": f"{SAGEMAKER}model-package/g/1"}, "model-package/g/1"),
        ("UpdateModelPackage", {"ModelPackageArn": f"{SAGEMAKER}model-package/g/1"}, "model-package/g/1"),
        ("ListTags", {"ResourceArn": f"{SAGEMAKER}model/m"}, "model/m"),
        ("ListTrainingJobs", {"NameContains": "t"}, "*"),
    ],
)
def test_an_action_is_checked_on_what_the_call_is_about(
    operation: str, request_: dict[str, Any], resource: str
) -> None:
    own = own_action(call(operation, **request_))
    assert own.action == f"sagemaker:{operation}"
    assert own.resource.removeprefix(SAGEMAKER) == resource


def test_an_update_that_alarms_watch_is_a_matter_of_the_caller_and_of_the_models_role() -> None:
    plain = asked("UpdateEndpoint", EndpointName="e", EndpointConfigName="c")
    assert plain == {("sagemaker:UpdateEndpoint", "endpoint-config/c", (CALLER,))}
    watched = asked("UpdateEndpoint", EndpointName="e", EndpointConfigName="c", DeploymentConfig=ALARMS)
    alarm = "arn:aws:cloudwatch:us-east-1:111122223333:alarm:a"
    assert watched - plain == {
        ("cloudwatch:DescribeAlarms", alarm, (CALLER,)),
        ("cloudwatch:DescribeAlarms", alarm, (EXECUTION_ROLE,)),
    }


@pytest.mark.parametrize("operation", ["CreateEndpoint", "UpdateEndpoint"])
def test_roles_that_start_instances_with_encrypted_volumes_may_grant_the_key(operation: str) -> None:
    permissions = needed(call(operation, {"KmsKeyId": KEY}, EndpointName="e", EndpointConfigName="c"))
    (grant,) = (permission for permission in permissions if permission.action == "kms:CreateGrant")
    assert (grant.resource, grant.principals) == (KEY, (CALLER,))
    assert dict(grant.context) == {"kms:GrantIsForAWSResource": "true"}


def test_for_a_job_either_the_caller_or_its_role_may_grant_the_key() -> None:
    either = ("kms:CreateGrant", KEY, (EXECUTION_ROLE, CALLER))
    assert asked("CreateTransformJob", TransformResources={"VolumeKmsKeyId": KEY}) == {either}
    resources = {"VolumeKmsKeyId": KEY}
    assert either in asked("CreateTrainingJob", RoleArn=ROLE, ResourceConfig=resources, OutputDataConfig=ARTIFACTS)


def test_a_training_job_is_given_its_role_encrypts_its_artifact_and_keeps_its_checkpoints() -> None:
    plain = asked("CreateTrainingJob", RoleArn=ROLE, OutputDataConfig=ARTIFACTS)
    assert plain == {("iam:PassRole", ROLE, (CALLER,))}
    encrypted = asked("CreateTrainingJob", RoleArn=ROLE, OutputDataConfig={**ARTIFACTS, "KmsKeyId": KEY})
    assert encrypted - plain == {("kms:Encrypt", KEY, (EXECUTION_ROLE,))}
    checkpoints = {"S3Uri": "s3://b/models/j/checkpoints/"}
    spot = asked("CreateTrainingJob", RoleArn=ROLE, OutputDataConfig=ARTIFACTS, CheckpointConfig=checkpoints)
    assert {action for action, _, principals in spot - plain if principals == (EXECUTION_ROLE,)} == {
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
    }


def test_resources_created_with_tags_are_tagged() -> None:
    assert asked("CreateEndpointConfig", EndpointConfigName="c") == set()
    tagged = asked("CreateEndpointConfig", EndpointConfigName="c", Tags=[{"Key": "k", "Value": "v"}])
    assert tagged == {("sagemaker:AddTags", "endpoint-config/c", (CALLER,))}


@pytest.mark.parametrize("kind", ["Training", "Transform"])
def test_step_functions_follows_and_stops_a_job_reads_its_tags_and_listens_for_its_events(kind: str) -> None:
    found = asked(f"create{kind}Job.sync", **{f"{kind}JobName": "j"})
    job = f"{kind.lower()}-job/j"
    rule = f"arn:aws:events:us-east-1:111122223333:rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule"
    on_job = (f"Describe{kind}Job", f"Stop{kind}Job", "AddTags", "ListTags")
    assert found == {
        *((f"sagemaker:{action}", job, (CALLER,)) for action in on_job),
        *((f"events:{action}", rule, (CALLER,)) for action in ("PutTargets", "PutRule", "DescribeRule")),
    }
