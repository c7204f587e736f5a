"""The target of the commands: one region, account and endpoint, for boto3 and for cdk."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import NoRegionError
from moto import mock_aws

from data_prep.errors import TargetError
from data_prep.target import Target, current_target, make_command, region


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A shell without settings and two profiles: `west`, and `none` without a region."""
    (tmp_path / "config").write_text("[profile west]\nregion = us-west-2\n[profile none]\noutput = json\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    current_target.cache_clear()
    yield
    current_target.cache_clear()


@pytest.mark.parametrize(
    "settings",
    [
        {"AWS_REGION": "us-west-2"},
        {"AWS_DEFAULT_REGION": "us-west-2"},
        {"AWS_PROFILE": "west"},
        {"AWS_DEFAULT_PROFILE": "west"},
        {"AWS_REGION": "us-west-2", "AWS_PROFILE": "west"},
        {"AWS_REGION": "us-west-2", "AWS_PROFILE": "none"},
        # All tools let the variable override the profile
        {"AWS_DEFAULT_REGION": "us-west-2", "AWS_PROFILE": "none"},
        {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-2", "AWS_PROFILE": "none"},
        {"AWS_PROFILE": "west", "AWS_DEFAULT_PROFILE": "west"},
    ],
)
def test_settings_that_agree_name_the_region(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert region() == "us-west-2"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"},
            "AWS_REGION is eu-west-1, AWS_DEFAULT_REGION is us-east-1. boto3 would use us-east-1, and cdk eu-west-1: ",
        ),
        (
            {"AWS_REGION": "eu-west-1", "AWS_PROFILE": "west"},
            "AWS_REGION is eu-west-1, the region of profile west is us-west-2. boto3 would use us-west-2",
        ),
        (
            {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-east-1", "AWS_PROFILE": "west"},
            "the region of profile west is us-west-2. boto3 would use us-east-1, and cdk us-west-2: ",
        ),
        (
            {"AWS_PROFILE": "west", "AWS_DEFAULT_PROFILE": "none"},
            "AWS_PROFILE is west and AWS_DEFAULT_PROFILE is none",
        ),
    ],
)
def test_conflicting_settings_stop_with_the_value_of_each(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TargetError) as caught:
        region()
    assert message in str(caught.value)


def test_without_a_region_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    # cdk would take us-east-1
    monkeypatch.setenv("AWS_PROFILE", "none")
    with pytest.raises(NoRegionError):
        region()


def test_the_account_is_the_credentials_and_the_endpoint_the_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")  # which boto3 alone would not read
    with mock_aws():
        target = current_target()
    assert target == Target(
        account="123456789012", region="eu-west-1", endpoint="https://cloudformation.eu-west-1.amazonaws.com"
    )
    assert str(target) == (
        "AWS (account 123456789012, region eu-west-1, https://cloudformation.eu-west-1.amazonaws.com)"
    )


def test_a_child_process_uses_its_parents_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMAZON_ACCESS_KEY_ID", "which only cdk reads")
    environment = Target(account="123456789012", region="eu-west-1", endpoint="https://example.com").environment
    assert "AMAZON_ACCESS_KEY_ID" not in environment
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "CDK_DEFAULT_REGION"):
        assert environment[name] == "eu-west-1"
    assert environment["CDK_DEFAULT_ACCOUNT"] == "123456789012"


def test_boto3_still_ignores_aws_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this fails, boto3 reads AWS_REGION, and half of data_prep/target.py has no reason any more."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert boto3.Session().region_name is None


def test_boto3_prefers_the_other_profile_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "none")
    monkeypatch.setenv("AWS_DEFAULT_PROFILE", "west")
    assert boto3.Session().region_name == "us-west-2"


@pytest.mark.parametrize(
    ("endpoint", "is_local"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://[::1]:4566", True),
        ("http://localhost:4566", True),
        ("https://cloudformation.eu-west-1.amazonaws.com", False),
        ("http://10.0.0.1:4566", False),
        ("https://localhost.example.com", False),
    ],
)
def test_only_an_endpoint_of_this_machine_is_local(endpoint: str, is_local: bool) -> None:
    assert Target(account="123456789012", region="eu-west-1", endpoint=endpoint).is_local is is_local


def test_a_hint_in_the_local_cloud_does_not_lead_to_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_command("deploy", "dev") == "make deploy ENV=dev"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert make_command("deploy", "dev") == "make deploy ENV=dev LOCAL=1"
