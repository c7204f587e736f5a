"""Services may deliver what they write themselves: inventories, undelivered events, checkpoints of spot jobs.

The permissions are those of local/permissions.py, evaluated against the resources' own policies and the roles'.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ministack.core import iam_evaluator

from local.permissions import Call, Permission, needed
from scanners.policies import ACCOUNT, REGION, Environment
from tests.conftest import LONGEST_NAME
from tests.infrastructure.test_least_privilege import Roles, allows

POLICIES = {"s3": "AWS::S3::BucketPolicy", "kms": "AWS::KMS::Key", "sqs": "AWS::SQS::QueuePolicy"}


@pytest.fixture(scope="module")
def nightly(variants: Path) -> Environment:
    """An environment with a key, schedules and spot jobs."""
    return Environment(variants, LONGEST_NAME)


def lets_in(environment: Environment, permission: Permission) -> bool:
    """Whether the policies of buckets, keys or queues let a service in."""
    kind = POLICIES[permission.action.partition(":")[0]]
    statements = [s for p in environment.resource_policies() if p.owner.startswith(kind) for s in p.statements]
    context = iam_evaluator.EvalContext(
        principal_arn="",
        principal_type="Service",
        principal_account=ACCOUNT,
        action=permission.action,
        resource_arn=permission.resource,
        region=REGION,
        secure_transport=True,
        service_context={key.lower(): value for key, value in permission.context},
    )
    (service,) = permission.principals
    policy: Any = json.loads(json.dumps({"Statement": statements}).replace(*DEPLOYED_BUCKET))
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=service).decision == "Allow")


# The bucket's logical id, and the name that CloudFormation generates, by whose beginning the key's policy allows it
DEPLOYED_BUCKET = ("Bucket83908E77", f"scones-{LONGEST_NAME}-data-bucket83908e77-0123456789ab")


def inventory(
    environment: Environment, *, of: str = DEPLOYED_BUCKET[1], prefix: str = "bulk/daily"
) -> list[Permission]:
    """What S3 needs to deliver an inventory of a bucket below a prefix of ours."""
    (key,) = environment.arns("AWS::KMS::Key").values()
    destination = {
        "Bucket": f"arn:aws:s3:::{DEPLOYED_BUCKET[1]}",
        "Prefix": prefix,
        "Encryption": {"SSEKMS": {"KeyId": key}},
    }
    configuration = {"Destination": {"S3BucketDestination": destination}}
    request = {"Bucket": of, "Id": "daily", "InventoryConfiguration": configuration}
    return needed(Call("PutBucketInventoryConfiguration", request, region=REGION, account=ACCOUNT))


def test_an_inventory_of_the_bucket_is_delivered_below_bulk(nightly: Environment) -> None:
    permissions = inventory(nightly)
    assert {permission.action for permission in permissions} == {"s3:PutObject", "kms:GenerateDataKey"}
    for permission in permissions:
        assert lets_in(nightly, permission), permission


def test_no_other_inventory_is(nightly: Environment) -> None:
    elsewhere, _ = inventory(nightly, prefix="incoming/daily")
    assert not lets_in(nightly, elsewhere)
    for permission in inventory(nightly, of="somebodys-bucket"):
        assert not lets_in(nightly, permission), permission
    for permission in inventory(nightly):
        context = tuple((key, value.replace(ACCOUNT, "444455556666")) for key, value in permission.context)
        assert not lets_in(nightly, replace(permission, context=context)), permission


def rules(environment: Environment) -> Iterator[Call]:
    for logical_id, properties in environment.resources("AWS::Events::Rule", "Targets"):
        yield Call("PutTargets", {"Rule": logical_id, **properties}, region=REGION, account=ACCOUNT)


def test_events_that_a_rule_cannot_deliver_reach_its_queue(nightly: Environment) -> None:
    permissions = [permission for call in rules(nightly) for permission in needed(call)]
    assert len(permissions) >= 3  # the rules for uploads and for retraining
    for permission in permissions:
        assert lets_in(nightly, permission), permission
        stranger = (("aws:SourceArn", "arn:aws:events:us-east-1:444455556666:rule/any"),)
        assert not lets_in(nightly, replace(permission, context=stranger))


def test_events_that_a_schedule_cannot_deliver_reach_its_queue(nightly: Environment, variants: Path) -> None:
    roles = Roles(variants, LONGEST_NAME)
    kept = 0
    for _, properties in nightly.resources("AWS::Scheduler::Schedule", "Target"):
        role = properties["Target"]["RoleArn"].rpartition("/")[2][:-8]
        for permission in needed(Call("CreateSchedule", properties, region=REGION, account=ACCOUNT)):
            kept += 1
            assert allows(roles.statements[role], permission), (role, permission)
    assert kept >= 2  # the schedules of a bulk workflow and of retraining


def test_a_spot_job_may_write_resume_from_and_delete_its_checkpoints(variants: Path) -> None:
    roles = Roles(variants, LONGEST_NAME)
    checkpoints = {p for p in roles.needs["SageMakerRole"] if p.resource.endswith("/checkpoints/checkpoint")}
    assert {p.action for p in checkpoints} == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}
    for permission in roles.needs["SageMakerRole"]:
        assert allows(roles.statements["SageMakerRole"], permission), permission
    artifact = Permission("s3:DeleteObject", "arn:aws:s3:::Bucket83908E77/models/j/output/model.tar.gz")
    assert not allows(roles.statements["SageMakerRole"], artifact)
