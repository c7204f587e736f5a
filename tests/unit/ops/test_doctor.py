"""`python -m ops doctor`: its checks of an account, and the fixes that it gives."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from data_prep import aws
from data_prep.artifact import current_artifact
from data_prep.upload import upload_code
from ops import doctor, quotas
from ops.check import Check
from stacks.config import PROJECT_ROOT, EnvironmentConfig, parse_environment
from stacks.shared.algorithm import ALGORITHMS
from stacks.shared.hyperparameters import hyperparameters, parameters_digest
from stacks.shared.model_code import code_files, code_prefix
from tests.unit.ops.conftest import Pages, deployed_stacks, run
from tests.unit.stored import create_bucket, place

CONFIG = parse_environment("dev", {"endpoint": {"instance_count": 2}})
ARTIFACT = "s3://models/models/job-1/output/model.tar.gz"
IMAGE = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account inside the process."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


def only(checks: Iterator[Check]) -> Check:
    (check,) = checks
    return check


def hand_over(config: EnvironmentConfig, **metadata: Any) -> None:
    """What training leaves behind."""
    create_bucket("models")
    place("models", "models/job-1/output/model.tar.gz", b"model")
    known = {
        "job": "job-1",
        "classes": config.classes,
        "image": IMAGE,
        "hyperparameters": hyperparameters(config),
        **metadata,
    }
    aws.ssm().put_parameter(Name=config.model_metadata_parameter, Value=json.dumps(known), Type="String")
    aws.ssm().put_parameter(Name=config.artifact_parameter, Value=ARTIFACT, Type="String")
    aws.ssm().put_parameter(Name=config.model_algorithm_parameter, Value="image-classification", Type="String")


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (None, []),
        ({"VariantName": "AllTraffic", "CurrentInstanceCount": 1}, ["failed"]),
        ({"VariantName": "AllTraffic", "CurrentServerlessConfig": {"MaxConcurrency": 1, "MemorySizeInMB": 1024}}, []),
    ],
)
def test_doctor_reports_with_a_fix_that_an_endpoint_on_instances_cannot_become_serverless(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, Any] | None, status: list[str]
) -> None:
    def describe_endpoint(**_: str) -> dict[str, Any]:
        if found is None:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "Could not find endpoint"}}, "x")
        return {"ProductionVariants": [found]}

    monkeypatch.setattr(aws.sagemaker(), "describe_endpoint", describe_endpoint)
    checks = list(doctor.endpoint_kind(parse_environment("dev", {"endpoint": {"kind": "serverless"}})))
    assert [check.status for check in checks] == status
    for check in checks:
        assert "runs on instances" in check.found
        assert re.findall("ops pause|make deploy|ops resume", check.fix) == ["ops pause", "make deploy", "ops resume"]
    assert list(doctor.endpoint_kind(CONFIG)) == []


@pytest.mark.parametrize(
    ("kind", "scales", "is_there", "status"),
    [
        ("ml.m5.large", True, True, []),
        ("ml.c5.large", True, True, ["failed"]),
        ("ml.c5.large", True, False, []),
        ("ml.c5.large", False, True, []),
        (None, False, True, []),
    ],
)
def test_doctor_reports_with_a_fix_that_the_instance_type_of_an_endpoint_that_scales_cannot_change(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, scales: bool, is_there: bool, status: list[str]
) -> None:
    variant = {"InstanceType": kind} if kind else {"ServerlessConfig": {"MaxConcurrency": 1, "MemorySizeInMB": 1024}}
    resources: dict[str, Any] = {
        "EndpointConfig": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": [variant]}},
        "Topic": {"Type": "AWS::SNS::Topic"},
    }
    if scales:
        resources["EndpointInstances"] = {"Type": "AWS::ApplicationAutoScaling::ScalableTarget"}
    monkeypatch.setattr(doctor, "deployed", lambda names: {name: {"Resources": resources} for name in names})
    monkeypatch.setattr(doctor, "described_endpoint", lambda _: {} if is_there else None)
    config = parse_environment("prod", {"endpoint": {"instance_count": 2, "max_instance_count": 4}})
    checks = list(doctor.instance_type(config))
    assert [check.status for check in checks] == status
    for check in checks:
        assert check.found.startswith("scones-prod scales and runs on ml.c5.large")
        assert check.fix.startswith("`make deploy ENV=prod` three times: without endpoint.max_instance_count")


@pytest.mark.parametrize(
    ("status", "found", "fix"),
    [
        (None, "paused since 2026-11-26 18:00 UTC: uploads wait", "`python -m ops resume --env dev`"),
        (
            "InService",
            "paused since 2026-11-26 18:00 UTC, but InService: the pause goes on or was interrupted",
            "`python -m ops pause --env dev` ends the pause that began, or `python -m ops resume --env dev`",
        ),
    ],
)
def test_a_paused_endpoint_that_is_still_there_and_costs_money_is_not_taken_for_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, status: str | None, found: str, fix: str
) -> None:
    monkeypatch.setattr(doctor, "stack_outputs", lambda _: {"Data": {"BucketName": "bucket"}})
    monkeypatch.setattr(doctor, "paused_since", lambda _: datetime(2026, 11, 26, 18, tzinfo=UTC))
    monkeypatch.setattr(doctor, "described_endpoint", lambda _: {"EndpointStatus": status} if status else None)
    check = only(doctor.endpoint(CONFIG))
    assert (check.status, check.found, check.fix) == ("warning", f"scones-dev is {found}", fix)


def test_the_tools_of_this_very_environment_are_as_pinned() -> None:
    assert [check for check in doctor.tools() if check.status != "ok"] == []


def test_a_package_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda name: None if name == "pydantic" else "1.0")
    (packages,) = [check for check in doctor.tools() if check.name == "packages"]
    assert packages.status == "failed"
    assert "pydantic missing instead of " in packages.found
    assert "typer 1.0 instead of " in packages.found
    assert packages.fix == "make setup"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project whose tools are below this folder, as far as they are installed."""
    for name in ("requirements.txt", "package.json"):
        shutil.copy(PROJECT_ROOT / name, tmp_path)
    monkeypatch.setattr(doctor, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    return tmp_path


def test_tools_that_are_not_installed_are_failed(elsewhere: Path) -> None:
    found = {check.name: (check.status, check.found) for check in doctor.tools()}
    assert (found["Node"], found["CDK"]) == (("failed", "missing"), ("failed", "missing"))


def test_a_cdk_of_another_version_is_named(elsewhere: Path) -> None:
    package = elsewhere / "node_modules" / "aws-cdk" / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text('{"version": "2.1.0"}')
    (cdk,) = [check for check in doctor.tools() if check.name == "CDK"]
    assert (cdk.status, cdk.found, cdk.fix) == ("failed", "2.1.0", "make setup")


def test_credentials_and_region_are_shown() -> None:
    os_checks = {check.name: check for check in doctor.account()}
    assert os_checks["region"].found == "us-east-1"
    assert "in account 123456789012" in os_checks["credentials"].found


def test_without_credentials_nothing_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def get_caller_identity(self) -> None:
            raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "GetCallerIdentity")

    monkeypatch.setattr(aws, "sts", Refusing)
    checks = doctor.examine(CONFIG)
    assert checks[-1].name == "credentials"
    assert "have expired" in checks[-1].found
    assert "aws sso login" in checks[-1].fix


def test_without_a_region_it_prints_how_to_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    check = only(doctor.account())
    assert (check.status, check.fix) == ("failed", "set AWS_REGION, or a region in the AWS profile")


def test_settings_that_name_two_regions_are_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    check = only(doctor.account())
    assert check.status == "failed"
    assert "AWS_REGION is eu-west-1, AWS_DEFAULT_REGION is us-east-1" in check.found


def test_a_region_without_sagemaker_is_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-nowhere-1")
    region = next(doctor.account())
    assert (region.status, region.found) == ("failed", "us-nowhere-1 has no SageMaker")


@pytest.mark.parametrize(("version", "status"), [(None, "failed"), ("5", "failed"), ("6", "ok"), ("33", "ok")])
def test_the_bootstrap_version_must_suffice(version: str | None, status: str) -> None:
    if version:
        aws.ssm().put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value=version, Type="String")
    check = only(doctor.bootstrap(CONFIG))
    assert check.status == status
    assert ("cdk bootstrap" in check.fix) == (status == "failed")


def test_code_that_no_retraining_would_find_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a `cdk deploy` alone of other code, or of another algorithm."""
    config = parse_environment("dev", {"training": {"algorithm": "scikit-learn"}})
    outputs: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(doctor, "stack_outputs", lambda _: outputs)
    assert not [*doctor.model_code(config)], "there is no bucket yet"
    outputs["Data"] = {"BucketName": "models"}
    assert not [*doctor.model_code(CONFIG)], "the built-in algorithm takes none"
    create_bucket("models")
    check = only(doctor.model_code(config))
    assert check.status == "warning"
    assert f"s3://models/{code_prefix()} lacks {len(code_files())} files of model_src/" in check.found
    assert "`python -m data_prep run --env dev`" in check.fix
    upload_code(config, "models")
    assert only(doctor.model_code(config)) == Check("model code", "ok", f"s3://models/{code_prefix()}")


def test_an_artifact_that_fits_is_ok() -> None:
    hand_over(CONFIG)
    assert only(doctor.model(CONFIG)) == Check("model artifact", "ok", f"{ARTIFACT} of job-1")


def test_no_artifact_yet_is_a_warning_with_the_command() -> None:
    check = only(doctor.model(CONFIG))
    assert check.status == "warning"
    assert "python -m data_prep run --env dev" in check.fix


@pytest.mark.parametrize(
    ("metadata", "mismatch"),
    [
        ({"classes": ["bus", "tractor"]}, "it was trained for bus, tractor; configured are bicycle, motorcycle"),
        (
            {"hyperparameters": {**hyperparameters(CONFIG), "epochs": "30"}},
            "it was trained with epochs 30 instead of 100",
        ),
        (
            {"image": IMAGE.replace("image-classification", "sagemaker-scikit-learn")},
            "it was trained by scikit-learn; configured is image-classification",
        ),
        (
            {"artifact_uri": "s3://models/models/job-2/output/model.tar.gz"},
            "the other parameters describe s3://models/models/job-2/output/model.tar.gz, whose hand-over was "
            "interrupted",
        ),
    ],
)
def test_an_artifact_of_another_configuration_is_a_mismatch(metadata: dict[str, Any], mismatch: str) -> None:
    hand_over(CONFIG, **metadata)
    artifact = current_artifact(CONFIG)
    assert artifact
    assert artifact.mismatch == mismatch


@pytest.mark.parametrize(("told", "found"), [("scikit-learn", "is scikit-learn"), (None, "is not set")])
def test_an_artifact_that_the_next_deployment_would_serve_with_the_wrong_container_is_a_warning(
    told: str | None, found: str
) -> None:
    hand_over(CONFIG)
    aws.ssm().delete_parameter(Name=CONFIG.model_algorithm_parameter)
    if told:
        aws.ssm().put_parameter(Name=CONFIG.model_algorithm_parameter, Value=told, Type="String")
    check = only(doctor.model(CONFIG))
    assert check.status == "warning"
    assert f"{ARTIFACT} is of image-classification, but /scones/dev/model/algorithm" in check.found
    assert check.found.endswith(found)
    assert "python -m data_prep run --env dev" in check.fix


def handed_over(config: EnvironmentConfig) -> dict[str, str]:
    """The four parameters that a hand-over of a model of this configuration writes, by name."""
    job = f"{config.algorithm.name}-{parameters_digest(config)}-1"
    uri = f"s3://models/models/{job}/output/model.tar.gz"
    for document in ("output/model.tar.gz", "baseline.json"):
        place("models", f"models/{job}/{document}", b"{}")
    image = IMAGE.replace("image-classification", config.algorithm.container.repository)
    model = {"job": job, "artifact_uri": uri, "classes": config.classes, "image": image}
    return {
        config.model_metadata_parameter: json.dumps({**model, "hyperparameters": hyperparameters(config)}),
        config.baseline_parameter: f"models/{job}/baseline.json",
        config.model_algorithm_parameter: config.algorithm.name,
        config.artifact_parameter: uri,
    }


@pytest.mark.parametrize("configured", [0, 1], ids=["image-classification", "scikit-learn"])
def test_parameters_of_two_hand_overs_are_never_taken_for_those_of_one(configured: int) -> None:
    """Whichever an interruption, or another hand-over at the same time, has left."""
    configs = [parse_environment("dev", {"training": {"algorithm": name}}) for name in ALGORITHMS]
    create_bucket("models")
    written = [handed_over(config) for config in configs]
    there: dict[str, str] = {}
    for mix in product(range(2), repeat=len(written[0])):
        for name, which in zip(written[0], mix, strict=True):
            if there.get(name) != written[which][name]:
                there[name] = written[which][name]
                aws.ssm().put_parameter(Name=name, Value=there[name], Type="String", Overwrite=True)
        checks = [*doctor.model(configs[configured]), *doctor.baseline(configs[configured])]
        are_fit = [check.status for check in checks] == ["ok", "ok"]
        assert are_fit == (set(mix) == {configured}), (mix, checks)
        assert all(check.fix for check in checks if check.status != "ok")


def test_a_model_that_no_real_picture_resembles_is_a_warning() -> None:
    hand_over(CONFIG)
    manifest = json.dumps({"archive": {"is_synthetic": True}})
    place("models", "models/job-1/manifest.json", manifest)
    check = only(doctor.model(CONFIG))
    assert check.status == "warning"
    assert "was trained on synthetic images" in check.found
    assert "make deploy ENV=dev ARCHIVE=PATH" in check.fix


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (None, "is not set: the drift monitor has nothing to compare with"),
        ("models/job-0/baseline.json", "models/job-0/baseline.json belongs to another model than job-1"),
        ("models/job-1/baseline.json", "s3://models/models/job-1/baseline.json does not exist"),
    ],
)
def test_a_model_without_a_baseline_of_its_own_is_a_warning(key: str | None, problem: str) -> None:
    hand_over(CONFIG)
    if key:
        aws.ssm().put_parameter(Name=CONFIG.baseline_parameter, Value=key, Type="String")
    check = only(doctor.baseline(CONFIG))
    assert check.status == "warning"
    assert problem in check.found
    assert check.fix == "`python -m data_prep baseline --env dev`"


def test_the_models_own_baseline_is_ok() -> None:
    hand_over(CONFIG)
    place("models", "models/job-1/baseline.json", b"{}")
    aws.ssm().put_parameter(Name=CONFIG.baseline_parameter, Value="models/job-1/baseline.json", Type="String")
    assert only(doctor.baseline(CONFIG)).status == "ok"


def test_an_artifact_that_is_gone_is_a_mismatch() -> None:
    hand_over(CONFIG)
    aws.s3().delete_object(Bucket="models", Key="models/job-1/output/model.tar.gz")
    artifact = current_artifact(CONFIG)
    assert artifact
    assert artifact.mismatch == "the object does not exist"


def deploy_data_stack(monkeypatch: pytest.MonkeyPatch, name: str = "scones-dev-Data") -> None:
    client = deployed_stacks({"CDKToolkit": {}, name: {"AlertTopicArn": "arn:aws:sns:us-east-1:123456789012:topic"}})
    monkeypatch.setattr(aws, "cloudformation", lambda: client)


def subscribe(monkeypatch: pytest.MonkeyPatch, *entries: dict[str, str]) -> None:
    pages = [{"Subscriptions": [entry]} for entry in entries]
    client = Pages("list_subscriptions_by_topic", *pages)
    monkeypatch.setattr(aws, "sns", lambda: client)


def test_a_topic_without_readers_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy_data_stack(monkeypatch)
    subscribe(monkeypatch)
    check = only(doctor.subscription(CONFIG))
    assert (check.status, check.found) == ("warning", "the alert topic has no confirmed subscription")


def test_another_environment_of_a_similar_name_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy_data_stack(monkeypatch, "scones-dev-2-Data")
    assert only(doctor.subscription(CONFIG)).found == "dev/Data is not deployed yet"


@pytest.mark.parametrize(
    ("arn", "status", "fix"),
    [
        ("arn:aws:sns:us-east-1:123456789012:topic:1", "ok", ""),
        ("PendingConfirmation", "warning", "follow the link in the message from AWS Notifications"),
        (None, "warning", "make deploy ENV=dev"),
    ],
)
def test_a_subscription_must_be_confirmed(
    monkeypatch: pytest.MonkeyPatch, arn: str | None, status: str, fix: str
) -> None:
    deploy_data_stack(monkeypatch)
    others = {"Endpoint": "other@example.com", "SubscriptionArn": "arn:aws:sns:us-east-1:123456789012:topic:2"}
    subscribe(monkeypatch, others, *([{"Endpoint": "ops@example.com", "SubscriptionArn": arn}] if arn else []))
    config = parse_environment("dev", {"alert_email": "ops@example.com"})
    check = only(doctor.subscription(config))
    assert (check.status, check.fix) == (status, fix)


def test_a_check_without_permission_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_config: EnvironmentConfig) -> Iterator[Check]:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListServiceQuotas")

    aws.ssm().put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
    deploy_data_stack(monkeypatch, "another-stack")
    monkeypatch.setattr(quotas, "instances", refused)
    (check,) = [check for check in doctor.examine(CONFIG) if check.name == "quotas"]
    assert check.status == "warning"
    assert "AccessDenied" in check.found


def test_the_exit_status_shows_whether_the_environment_can_be_deployed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[Check] = [Check("one", "warning", "[so] so", "do something")]
    monkeypatch.setattr(doctor, "examine", lambda _: found)
    assert run("doctor", "--env", "dev") == 0
    assert "[so] so" in capsys.readouterr().out
    found.append(Check("two", "failed", "bad", "do more"))
    assert run("doctor", "--env", "dev", "--json") == 1
    assert json.loads(capsys.readouterr().out)[1] == {
        "name": "two",
        "status": "failed",
        "found": "bad",
        "fix": "do more",
    }


def test_an_unknown_environment_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--env", "nowhere") == 1
    assert capsys.readouterr().err == "Error: environment 'nowhere' is not in cdk.json; it has dev, prod\n"
