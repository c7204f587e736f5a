"""Every finding of public scanners is acknowledged at its construct, with a reason. `make scan` runs more scanners."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scanners import templates
from scanners.finding import Finding
from scanners.policies import Environment
from scanners.verdict import is_configured
from stacks.config import load_environment


def test_cdk_s_own_rules_find_nothing(assembly: Path, variants: Path) -> None:
    """`cdk synth` applies them too; here no other synthesis does (tests/conftest.py)."""
    from tests.infrastructure.cdk_rules import violations  # noqa: PLC0415 - it starts Node

    templates = [*assembly.glob("*/*.template.json"), *variants.glob("*/*.template.json")]
    assert len(templates) > 40
    assert not violations(templates)


@pytest.fixture(scope="module")
def nag(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    from scanners import cdk_nag  # noqa: PLC0415 - it starts Node

    return cdk_nag.scan(tmp_path_factory.mktemp("nag"))


def test_cdk_nag_finds_nothing_in_prod(nag: list[Finding]) -> None:
    assert not [finding for finding in nag if finding.environment == "prod"]


def test_cdk_nag_finds_in_dev_what_its_configuration_switches_off(nag: list[Finding]) -> None:
    assert not [finding for finding in nag if not is_configured(finding)]
    assert {finding.name for finding in nag if finding.environment == "dev"} == {
        "S1",
        "CloudWatchLogGroupEncrypted",
        "LambdaConcurrency",
        "S3BucketLoggingEnabled",
        "S3DefaultEncryptionKMS",
        "SNSEncryptedKMS",
        "SageMakerEndpointConfigurationKMSKeyConfigured",
    }


def test_prod_has_every_setting_that_the_scanners_require() -> None:
    config = load_environment("prod")
    assert config.customer_managed_key
    assert config.access_logging
    assert config.function_concurrency


def test_cfn_lint_finds_nothing(assembly: Path) -> None:
    assert not list(templates.cfn_lint(assembly))


def statements(assembly: Path, environment: str) -> Iterator[tuple[str, set[str], list[str]]]:
    """Role, actions and resources of every statement that allows something."""
    for policy in Environment(assembly, environment).role_policies():
        for statement in policy.statements:
            actions, resources = statement["Action"], statement["Resource"]
            yield (
                policy.owner,
                {actions} if isinstance(actions, str) else set(actions),
                [resources] if isinstance(resources, str) else resources,
            )


def test_no_wildcard_resource_but_for_what_the_service_cannot_scope(assembly: Path, environment: str) -> None:
    from stacks.shared import scanner_exceptions  # noqa: PLC0415 - it starts Node

    for role, actions, resources in statements(assembly, environment):
        if "*" in resources:
            assert actions <= scanner_exceptions.UNSCOPABLE_ACTIONS, (role, actions)


def test_no_wildcard_in_an_action(assembly: Path, environment: str) -> None:
    for role, actions, _ in statements(assembly, environment):
        # CDK's grants on a key contain these two wildcards
        assert not [a for a in actions if "*" in a and a not in {"kms:GenerateDataKey*", "kms:ReEncrypt*"}], role
