"""The life cycles of two environments side by side, in their own local cloud, in the order of the tests.

dev is deployed by one command, and again by its role for GitHub. Beside it prod lives from its first deployment to its
second destruction, as `ops acceptance` has it. Then dev goes, its data last.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local import deployment
from local.cloud import ACCOUNT, REGION, LocalCloud
from ops.acceptance import PHASES
from stacks.config import CDK_QUALIFIER, PROJECT_ROOT, parse_environment
from tests.listener import Listener
from tests.local.conftest import copied_project, started, use

Run = subprocess.CompletedProcess[str]
Ops = Callable[..., Run]

GITHUB = {"github_repository": "owner/name", "bootstrap_qualifier": CDK_QUALIFIER}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Iterator[LocalCloud]:
    """Takes the place of conftest's, which the other tests need undestroyed."""
    with started(tmp_path_factory, "one-click") as cloud:
        yield cloud


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run: what they write beside the code is not that of whoever runs the tests.

    GitHub deploys its dev, with a boundary.
    """
    copy = copied_project(tmp_path_factory.mktemp("one-click-project"))
    settings = json.loads((copy / "cdk.json").read_text())
    settings["context"]["environments"]["dev"] |= GITHUB
    (copy / "cdk.json").write_text(json.dumps(settings))
    return copy


@pytest.fixture(scope="module")
def ops(cloud: LocalCloud, project: Path) -> Ops:
    """Runs a command in the project."""

    def run(*arguments: str, **environment: str) -> Run:
        return subprocess.run(
            [sys.executable, "-m", "ops", *arguments],
            cwd=project,
            env={**cloud.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return run


def succeeded(run: Run) -> str:
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout + run.stderr


@pytest.fixture(scope="module")
def app(assembly: Path) -> str:
    """The option that spares a command the synthesis: of the cdk.json that is committed."""
    return f"--app={assembly}"


@pytest.fixture(scope="module")
def first_deployment(cloud: LocalCloud, ops: Ops, archive: Path) -> str:
    """What `ops deploy` said, which has synthesized the environment, too."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(cloud, monkeypatch)
        deployment.bound(parse_environment("dev", GITHUB))
    return succeeded(ops("deploy", "--env", "dev", "--archive", str(archive)))


@pytest.fixture(scope="module")
def first_app(project: Path, first_deployment: str) -> str:
    """The option that takes what the first deployment has synthesized."""
    return f"--app={project / 'cdk.out'}"


def stack_names(environment: str) -> set[str]:
    pages = boto3.client("cloudformation").get_paginator("describe_stacks").paginate()
    names = {s["StackName"] for page in pages for s in page["Stacks"] if s["StackStatus"] != "DELETE_COMPLETE"}
    return {name for name in names if name.startswith(f"scones-{environment}-")}


def bucket_of(environment: str) -> str:
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=f"scones-{environment}-Data")["Stacks"]
    return next(output["OutputValue"] for output in stack["Outputs"] if output["OutputKey"] == "BucketName")


def buckets() -> set[str]:
    return {entry["Name"] for entry in boto3.client("s3").list_buckets()["Buckets"]}


def parameters() -> dict[str, str]:
    found = boto3.client("ssm").get_parameters_by_path(Path="/scones/", Recursive=True)["Parameters"]
    return {parameter["Name"]: parameter["Value"] for parameter in found}


def models(environment: str) -> list[str]:
    listed = boto3.client("sagemaker").list_models(NameContains=f"scones-{environment}-")["Models"]
    return [model["ModelName"] for model in listed]


def check_first_deployments(environment: str, said: str, count: int = 1) -> None:
    """Of a command that has deployed the environment, from nothing, as many times."""
    for line in (f"Started scones-{environment}-", "Computed the baseline", f"✓ endpoint scones-{environment}:"):
        assert said.count(line) == count, line
    _, *outputs = said.split("== outputs")
    assert len(outputs) == count
    for shown in outputs:
        for output in ("BucketName", "EndpointName", "StateMachineArn", "AlertTopicArn"):
            assert output in shown


def test_one_command_leads_from_nothing_to_a_tried_endpoint(first_deployment: str) -> None:
    check_first_deployments("dev", first_deployment)
    artifact = parameters()["/scones/dev/model/artifact-uri"]
    assert artifact.startswith(f"s3://{bucket_of('dev')}/models/scones-dev-")


def test_the_doctor_finds_the_environment_fit(ops: Ops, first_deployment: str) -> None:
    checks = {check["name"]: check for check in json.loads(succeeded(ops("doctor", "--json")))}
    for name in ("packages", "Node", "CDK", "region", "credentials", "endpoint", "bootstrap", "baseline"):
        assert checks[name]["status"] == "ok", checks[name]
    assert "was trained on synthetic images" in checks["model artifact"]["found"]
    assert checks["alert subscription"]["found"] == "the alert topic has no confirmed subscription"


def test_the_templates_equal_those_just_deployed(ops: Ops, first_app: str) -> None:
    succeeded(ops("diff", "--env", "dev", "--exit-code", first_app))


def test_the_role_of_the_github_workflow_suffices(cloud: LocalCloud, ops: Ops, first_app: str, tmp_path: Path) -> None:
    """From the upload of another data set to the smoke test, with IAM enforced from here on."""
    parameter = "/scones/dev/model/artifact-uri"
    before = parameters()[parameter]
    boto3.client("ssm").delete_parameter(Name=parameter)
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
    cloud.enforce_iam()
    said = succeeded(ops("deploy", "--env", "dev", "--archive", str(archive), first_app, **credentials))
    assert "Started scones-dev-" in said
    assert parameters()[parameter] != before
    assert "✓ endpoint scones-dev:" in said
    refused = ops("destroy", "--env", "dev", "--yes", first_app, **credentials)
    assert refused.returncode == 1
    assert "AWS refused" in refused.stderr


def test_prod_lives_its_whole_life_twice_and_shares_nothing_with_dev_but_the_account(
    ops: Ops, project: Path, first_deployment: str, archive: Path, app: str
) -> None:
    """With its key, two instances, a canary and a manual approval.

    The training jobs of the first deployment still have their names in the second, but their artifacts went with the
    bucket. The log groups stay, and do not stand in the way of the next ones.
    """
    before = (stack_names("dev"), bucket_of("dev"), parameters(), models("dev"))
    said = succeeded(ops("acceptance", "--env", "prod", "--archive", str(archive), "--yes", app))
    report = (project / "build" / "acceptance-prod.md").read_text()
    phases = re.findall(r"^\| ([a-z ]+) \| (passed|FAILED) \| \d+ \| (.*) \|$", report, flags=re.MULTILINE)
    assert [name for name, *_ in phases] == [phase.name for phase in PHASES], said[-3000:]
    assert {verdict for _, verdict, _ in phases} == {"passed"}
    artifacts = [re.findall(r"s3://(\S+)/models/(\S+)-(\d+)/output", seen) for _, _, seen in phases]
    first, retrained, restored, second = [found[0] for found in artifacts if found]
    assert first == restored
    assert first[1:] == (second[1], "1")
    assert retrained[1] != first[1]
    assert second[2] == "2"
    check_first_deployments("prod", said, count=2)
    assert "aws logs delete-log-group --log-group-name /aws/vendedlogs/states/scones-prod-classification-" in said
    assert not stack_names("prod")
    assert not models("prod")
    assert not {first[0], second[0]} & {*buckets(), bucket_of("dev")}
    assert (stack_names("dev"), bucket_of("dev"), parameters(), models("dev")) == before
    succeeded(ops("smoke", "--env", "dev"))


def test_the_smoke_test_fails_when_the_model_is_asked_in_vain(ops: Ops, first_deployment: str) -> None:
    sagemaker = boto3.client("sagemaker")
    config_name = sagemaker.describe_endpoint(EndpointName="scones-dev")["EndpointConfigName"]
    sagemaker.delete_endpoint(EndpointName="scones-dev")
    try:
        run = ops("smoke", "--env", "dev")
        assert run.returncode == 1
        assert "endpoint scones-dev: " in run.stderr
        assert "make deploy ENV=dev" in run.stderr
    finally:
        sagemaker.create_endpoint(EndpointName="scones-dev", EndpointConfigName=config_name)


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


def test_an_environment_destroyed_except_for_its_data_is_deployed_again_without_training(
    ops: Ops, first_deployment: str, app: str
) -> None:
    bucket, known, released = bucket_of("dev"), parameters(), release("dev")
    said = succeeded(ops("destroy", "--env", "dev", "--keep-data", "--yes", app))
    assert models("dev") == [f"{released}-of-another"]
    # Deployed by another cdk.json than this one; it would keep the stacks from which it imports
    assert "Deleting stack scones-dev-DeployRole, which cdk.json does not ask for any more" in said
    assert stack_names("dev") == {"scones-dev-Data"}
    assert f"dev/Data with s3://{bucket}" in said
    assert "python -m ops destroy --env dev --data" in said
    assert boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix="models/")["KeyCount"] > 0
    assert parameters() == known

    said = succeeded(ops("deploy", "--env", "dev", app))
    for line in ("Keeping the model of scones-dev-", "Reusing the baseline", "✓ endpoint scones-dev:"):
        assert line in said
    assert bucket_of("dev") == bucket


def test_destroying_dev_leaves_nothing_of_it(ops: Ops, first_deployment: str, app: str) -> None:
    """Also where its endpoint is paused."""
    bucket = bucket_of("dev")
    succeeded(ops("pause", "--env", "dev"))
    said = succeeded(ops("destroy", "--env", "dev", "--yes", app))
    assert "Retained:" in said
    assert not stack_names("dev")
    assert bucket not in buckets()
    assert parameters() == {}


def test_a_destroyed_environment_is_new_in_the_diff(ops: Ops, first_deployment: str, app: str) -> None:
    run = ops("diff", "--env", "dev", "--details", "--exit-code", app)
    assert run.returncode == 2
    assert "+ AWS::SageMaker::Endpoint " in run.stdout


def test_no_request_left_this_machine(listener: Listener) -> None:
    """Of all the commands above, and of what they started."""
    assert not listener.connections
