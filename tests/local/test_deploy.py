"""One click, in a local cloud of its own: two environments side by side, deployed, tried out, compared, destroyed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local import deployment
from local.cloud import ACCOUNT, REGION, LocalCloud
from stacks.config import CDK_QUALIFIER, PROJECT_ROOT, parse_environment
from tests.listener import Listener
from tests.local.conftest import started, use

Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def empty_cloud(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Iterator[LocalCloud]:
    with started(tmp_path_factory, "one-click") as cloud:
        yield cloud


@pytest.fixture(autouse=True)
def _local_aws(monkeypatch: pytest.MonkeyPatch, empty_cloud: LocalCloud) -> None:
    """Takes the place of conftest's, whose cloud the other tests need undestroyed."""
    use(empty_cloud, monkeypatch)


def ops(cloud: LocalCloud, *arguments: str, **environment: str) -> Run:
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        cwd=PROJECT_ROOT,
        env={**cloud.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def succeeded(run: Run) -> str:
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout


def deployed(cloud: LocalCloud, environment: str, *arguments: str, **variables: str) -> str:
    """What `ops deploy` said, and the commands that it ran."""
    run = ops(cloud, "deploy", "--env", environment, *arguments, **variables)
    return succeeded(run) + run.stderr


@pytest.fixture(scope="module")
def app(assembly: Path) -> str:
    """The option that spares a command the synthesis."""
    return f"--app={assembly}"


@pytest.fixture(scope="module")
def first_deployments(empty_cloud: LocalCloud, archive: Path, app: str) -> dict[str, str]:
    """What `ops deploy` said of each environment, of which it has synthesized one."""
    return {
        "dev": deployed(empty_cloud, "dev", "--archive", str(archive)),
        "prod": deployed(empty_cloud, "prod", "--archive", str(archive), app),
    }


def stack_names() -> set[str]:
    pages = boto3.client("cloudformation").get_paginator("describe_stacks").paginate()
    return {s["StackName"] for page in pages for s in page["Stacks"] if s["StackStatus"] != "DELETE_COMPLETE"}


def bucket_of(environment: str) -> str:
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=f"scones-{environment}-Data")["Stacks"]
    return next(output["OutputValue"] for output in stack["Outputs"] if output["OutputKey"] == "BucketName")


def test_one_command_leads_from_nothing_to_a_tried_endpoint(first_deployments: dict[str, str]) -> None:
    for environment, said in first_deployments.items():
        for line in (f"Started scones-{environment}-", "Computed the baseline", f"✓ endpoint scones-{environment}:"):
            assert line in said
        outputs = said.rpartition("== outputs")[2]
        for output in ("BucketName", "EndpointName", "StateMachineArn", "AlertTopicArn"):
            assert output in outputs


def test_two_environments_share_nothing_but_the_account(first_deployments: dict[str, str]) -> None:
    assert bucket_of("dev") != bucket_of("prod")
    artifacts = {
        environment: boto3.client("ssm").get_parameter(Name=f"/scones/{environment}/model/artifact-uri")["Parameter"][
            "Value"
        ]
        for environment in ("dev", "prod")
    }
    for environment, artifact in artifacts.items():
        assert artifact.startswith(f"s3://{bucket_of(environment)}/models/scones-{environment}-")


def test_a_second_deployment_trains_nothing(
    empty_cloud: LocalCloud, first_deployments: dict[str, str], app: str
) -> None:
    said = deployed(empty_cloud, "dev", app)
    for line in ("Keeping the model of scones-dev-", "Reusing the baseline", "✓ endpoint scones-dev:"):
        assert line in said


def test_the_doctor_finds_the_environment_fit(empty_cloud: LocalCloud, first_deployments: dict[str, str]) -> None:
    checks = {check["name"]: check for check in json.loads(succeeded(ops(empty_cloud, "doctor", "--json")))}
    for name in ("packages", "Node", "CDK", "region", "credentials", "endpoint", "bootstrap", "baseline"):
        assert checks[name]["status"] == "ok", checks[name]
    assert "was trained on synthetic images" in checks["model artifact"]["found"]
    assert checks["alert subscription"]["found"] == "the alert topic has no confirmed subscription"


def test_nothing_differs_from_what_was_just_deployed(
    empty_cloud: LocalCloud, first_deployments: dict[str, str], app: str
) -> None:
    succeeded(ops(empty_cloud, "diff", "--env", "dev", "--exit-code", app))


def test_the_role_of_the_github_workflow_suffices(
    empty_cloud: LocalCloud, first_deployments: dict[str, str], tmp_path: Path, app: str
) -> None:
    """From the upload of another data set to the smoke test, with IAM enforced from here on."""
    content = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]
    settings = {
        **content["environments"]["dev"],
        "github_repository": "owner/name",
        "bootstrap_qualifier": CDK_QUALIFIER,
    }
    content["environments"] = {"dev": settings}
    deployment.bound(parse_environment("dev", settings))
    context = {**os.environ, "CDK_OUTDIR": str(tmp_path / "cdk.out"), "CDK_CONTEXT_JSON": json.dumps(content)}
    subprocess.run([sys.executable, "app.py"], cwd=PROJECT_ROOT, env=context, check=True, timeout=120)
    deployment.deploy(empty_cloud, tmp_path / "cdk.out", "dev/DeployRole")
    ssm, parameter = boto3.client("ssm"), "/scones/dev/model/artifact-uri"
    before = ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
    ssm.delete_parameter(Name=parameter)
    archive = tmp_path / "another.tar.gz"
    subprocess.run(
        [sys.executable, "-m", "data_prep", "sample", str(archive), "--train", "70", "--test", "20", "--quiet"],
        cwd=PROJECT_ROOT,
        check=True,
        timeout=120,
    )
    # It trusts GitHub alone, whose tokens nobody has here, so it is assumed while nothing is enforced
    role = f"arn:aws:iam::{ACCOUNT}:role/scones-dev-deploy-{REGION}"
    session = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="github")["Credentials"]
    credentials = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    empty_cloud.enforce_iam()
    said = deployed(empty_cloud, "dev", "--archive", str(archive), app, **credentials)
    assert "Started scones-dev-" in said
    assert ssm.get_parameter(Name=parameter)["Parameter"]["Value"] != before
    assert "✓ endpoint scones-dev:" in said
    refused = ops(empty_cloud, "destroy", "--env", "dev", "--yes", app, **credentials)
    assert refused.returncode == 1
    assert "AWS refused" in refused.stderr


def test_the_smoke_test_fails_when_the_model_is_asked_in_vain(
    empty_cloud: LocalCloud, first_deployments: dict[str, str]
) -> None:
    sagemaker = boto3.client("sagemaker")
    config_name = sagemaker.describe_endpoint(EndpointName="scones-dev")["EndpointConfigName"]
    sagemaker.delete_endpoint(EndpointName="scones-dev")
    try:
        run = ops(empty_cloud, "smoke", "--env", "dev")
        assert run.returncode == 1
        assert "endpoint scones-dev: " in run.stderr
        assert "make deploy ENV=dev" in run.stderr
    finally:
        sagemaker.create_endpoint(EndpointName="scones-dev", EndpointConfigName=config_name)


def test_destroying_dev_leaves_nothing_of_it_and_prod_alone(
    empty_cloud: LocalCloud, first_deployments: dict[str, str], app: str
) -> None:
    """Also where its endpoint is paused."""
    bucket = bucket_of("dev")
    succeeded(ops(empty_cloud, "pause", "--env", "dev"))
    said = succeeded(ops(empty_cloud, "destroy", "--env", "dev", "--yes", app))
    assert "Retained:" in said
    assert not [name for name in stack_names() if name.startswith("scones-dev-")]
    # Deployed by another cdk.json than this one; it would keep the stacks from which it imports
    assert "Deleting stack scones-dev-DeployRole, which cdk.json does not ask for any more" in said
    assert bucket not in {entry["Name"] for entry in boto3.client("s3").list_buckets()["Buckets"]}
    parameters = boto3.client("ssm").get_parameters_by_path(Path="/scones/", Recursive=True)["Parameters"]
    assert {parameter["Name"].split("/")[2] for parameter in parameters} == {"prod"}
    succeeded(ops(empty_cloud, "smoke", "--env", "prod"))


def test_what_is_destroyed_shows_as_new_in_the_diff(
    empty_cloud: LocalCloud, first_deployments: dict[str, str], app: str
) -> None:
    run = ops(empty_cloud, "diff", "--env", "dev", "--details", "--exit-code", app)
    assert run.returncode == 2
    assert "+ AWS::SageMaker::Endpoint " in run.stdout


def release(environment: str) -> str:
    """What a retraining run leaves that no stack knows, and a model that only has a similar name; its name."""
    sagemaker, name = boto3.client("sagemaker"), f"scones-{environment}-retrained"
    endpoint: Any = sagemaker.describe_endpoint(EndpointName=f"scones-{environment}")
    config: Any = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    like: Any = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    for model, owner in ((name, environment), (f"{name}-of-another", f"{environment}-retrained")):
        sagemaker.create_model(
            ModelName=model,
            PrimaryContainer=like["PrimaryContainer"],
            ExecutionRoleArn=like["ExecutionRoleArn"],
            Tags=[{"Key": "application", "Value": "scones-unlimited"}, {"Key": "environment", "Value": owner}],
        )
    group = sagemaker.create_model_package(ModelPackageGroupName=f"scones-{environment}", ModelPackageDescription="a")
    assert f"/scones-{environment}/" in group["ModelPackageArn"]
    return name


def test_destroying_prod_keeps_its_data_until_that_is_asked_for(
    empty_cloud: LocalCloud, first_deployments: dict[str, str], app: str
) -> None:
    bucket = bucket_of("prod")
    released = release("prod")
    said = succeeded(ops(empty_cloud, "destroy", "--env", "prod", "--yes", app))
    models = boto3.client("sagemaker").list_models(NameContains="scones-prod-")["Models"]
    assert [model["ModelName"] for model in models] == [f"{released}-of-another"]
    assert {name for name in stack_names() if name.startswith("scones-prod-")} == {"scones-prod-Data"}
    assert f"prod/Data with s3://{bucket}" in said
    assert "python -m ops destroy --env prod --data" in said
    assert "aws logs delete-log-group --log-group-name /aws/vendedlogs/states/scones-prod-classification-" in said
    assert boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix="models/")["KeyCount"] > 0

    # What was kept, the log groups among it, does not stand in the way of the next one
    assert "Keeping the model of scones-prod-" in deployed(empty_cloud, "prod", app)
    assert bucket_of("prod") == bucket

    succeeded(ops(empty_cloud, "destroy", "--env", "prod", "--data", "--yes", app))
    assert not [name for name in stack_names() if name.startswith("scones-prod-")]
    assert bucket not in {entry["Name"] for entry in boto3.client("s3").list_buckets()["Buckets"]}


def test_nothing_left_this_machine(listener: Listener) -> None:
    """Of all the commands above, and of what they started."""
    assert not listener.connections
