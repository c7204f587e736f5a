"""The two running processes refuse requests without one of their keys, or beyond a permissions boundary."""

import json
import urllib.error
import urllib.request

import boto3
import pytest

from local import request_guard
from local.cloud import LocalCloud
from local.demonstration import Environment


@pytest.mark.parametrize(
    ("process", "path"),
    [
        ("emulator", "/_ministack/health"),
        ("emulator", "/2015-03-31/functions/"),
        ("emulator", "/_ministack/reset"),
        ("sagemaker", "/ping"),
        ("sagemaker", "/withheld"),
        ("sagemaker", "/endpoints/scones-dev/invocations"),
    ],
)
@pytest.mark.parametrize("body", [None, b"{}"])
@pytest.mark.parametrize("headers", [{}, request_guard.naming("test"), request_guard.naming("000000000000")])
def test_a_request_without_a_key_is_refused(
    cloud: LocalCloud, process: str, path: str, body: bytes | None, headers: dict[str, str]
) -> None:
    url = f"{getattr(cloud, process).url}{path}"
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own address
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request, timeout=30):  # noqa: S310
        pass
    assert refused.value.code == 403
    refused.value.close()


@pytest.mark.parametrize(("process", "path"), [("emulator", "/_ministack/health"), ("sagemaker", "/ping")])
def test_the_same_request_with_the_key_of_this_start_is_answered(cloud: LocalCloud, process: str, path: str) -> None:
    request = getattr(cloud, process).request(path)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own address
        assert answer.status == 200


def test_a_permissions_boundary_refuses_what_a_role_s_policies_allow(
    environment: Environment, confident_images: list[str]
) -> None:
    iam = boto3.client("iam")
    (role,) = [
        role["RoleName"]
        for page in iam.get_paginator("list_roles").paginate()
        for role in page["Roles"]
        if "FilterConfidenceRole" in role["RoleName"]
    ]
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*"},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    boundary = iam.create_policy(PolicyName="reads-only", PolicyDocument=document)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=boundary)
    try:
        (refused,) = environment.classify(confident_images[:1]).manifest["outcomes"]
    finally:
        iam.delete_role_permissions_boundary(RoleName=role)
        iam.delete_policy(PolicyArn=boundary)
    assert (refused["outcome"], refused["error"]) == ("FAILED", "PredictionNotStoredError")
    (accepted,) = environment.classify(confident_images[:1]).manifest["outcomes"]
    assert accepted["outcome"] == "ACCEPTED"
