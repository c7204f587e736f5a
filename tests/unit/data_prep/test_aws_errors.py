"""Each kind of failed request to AWS has its own message, with a fix."""

import configparser
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from data_prep.aws_errors import explain, one_line_errors
from data_prep.errors import DataPrepError


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Writes the one profile, `dev`, of a configuration file and selects it."""

    def write(**settings: str) -> None:
        parser = configparser.ConfigParser()
        parser["profile dev"] = {"region": "us-east-1", **settings}
        with (tmp_path / "config").open("w") as file:
            parser.write(file)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "dev")
        monkeypatch.setenv("HOME", str(tmp_path))  # where tokens are kept

    return write


def complaint() -> str:
    """What a command says whose first request fails."""
    with pytest.raises(DataPrepError) as caught, one_line_errors():
        boto3.Session().client("sts", region_name="us-east-1").get_caller_identity()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_credentials() -> None:
    assert complaint().startswith("there are no AWS credentials: set AWS_PROFILE, or sign in")


def test_half_of_a_pair_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    assert "credentials are incomplete" in (found := complaint())
    assert "missing: AWS_SECRET_ACCESS_KEY" in found


def test_an_unknown_profile(profile: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    profile()
    monkeypatch.setenv("AWS_PROFILE", "typo")
    assert complaint().startswith(
        "there is no AWS profile typo: set AWS_PROFILE to one that `aws configure list-profiles`"
    )


def test_no_sign_in_to_identity_center(profile: Callable[..., None]) -> None:
    profile(
        sso_start_url="https://example.com/start",
        sso_region="us-east-1",
        sso_account_id="123456789012",
        sso_role_name="role",
    )
    assert complaint().endswith("`aws sso login --profile dev`")


def test_credentials_of_aws_login_without_the_package_that_reads_them(
    profile: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile(login_session="arn:aws:iam::123456789012:user/me")
    monkeypatch.setattr("botocore.credentials.EC", None)  # as without awscrt
    assert complaint() == (
        "the credentials of `aws login` need the Python package awscrt, which is not installed: "
        '`.venv/bin/uv pip install "botocore[crt]"`, or sign in with `aws sso login`'
    )


def test_a_sign_in_with_the_console_that_is_over(profile: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    profile(login_session="arn:aws:iam::123456789012:user/me")
    monkeypatch.setattr("botocore.credentials.EC", object())  # as with awscrt
    assert complaint().endswith("`aws login --profile dev`")


def test_a_command_that_should_print_credentials_and_does_not(profile: Callable[..., None]) -> None:
    profile(credential_process="false")
    assert complaint().startswith("the AWS credentials cannot be retrieved: ")


def test_a_profile_with_a_missing_source_profile(profile: Callable[..., None]) -> None:
    profile(role_arn="arn:aws:iam::123456789012:role/x", source_profile="missing")
    assert complaint().startswith("the AWS configuration is wrong: ")


@pytest.mark.parametrize(
    ("error", "problem", "fix"),
    [
        (exceptions.NoRegionError(), "there is no AWS region", "set AWS_REGION"),
        (exceptions.UnauthorizedSSOTokenError(), "not signed in to IAM Identity Center", "aws sso login"),
        (
            exceptions.TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
            "not signed in to IAM Identity Center",
            "aws sso login",
        ),
        (exceptions.EndpointConnectionError(endpoint_url="https://s3"), "cannot reach AWS", "check the network"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://s3"), "cannot reach AWS", "check the network"),
        (exceptions.ReadTimeoutError(endpoint_url="https://s3"), "cannot reach AWS", "check the network"),
        (
            exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:4566/"),
            "the local cloud does not respond",
            "python -m local up",
        ),
        (exceptions.ParamValidationError(report="Unknown parameter"), "ParamValidationError: ", ""),
    ],
)
def test_errors_that_boto3_itself_raises(error: BotoCoreError, problem: str, fix: str) -> None:
    assert explain(error).problem.startswith(problem) or problem in explain(error).problem
    assert fix in explain(error).fix


@pytest.mark.parametrize(
    ("code", "problem", "fix"),
    [
        ("ExpiredToken", "the AWS credentials have expired", "sign in again"),
        ("ExpiredTokenException", "the AWS credentials have expired", "sign in again"),
        ("UnrecognizedClientException", "AWS does not know these credentials", "region is enabled"),
        ("InvalidAccessKeyId", "AWS does not know these credentials", "region is enabled"),
        ("SignatureDoesNotMatch", "AWS refused PutObject", "clock"),
        ("AccessDenied", "AWS refused PutObject", "the caller needs the permission for PutObject"),
        ("NoSuchBucket", "AWS refused PutObject (NoSuchBucket): because", ""),
    ],
)
def test_an_error_of_aws_is_explained_with_its_fix(code: str, problem: str, fix: str) -> None:
    found = explain(ClientError({"Error": {"Code": code, "Message": "because"}}, "PutObject"))
    assert found.problem.startswith(problem)
    assert fix in found.fix
    assert bool(fix) == bool(found.fix)
