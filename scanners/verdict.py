"""Decides which findings follow from an environment's configuration."""

from scanners.finding import Finding
from stacks.config import EnvironmentConfig, load_environment

# Rules by the setting that satisfies them; the environment's owner decides whether it is worth its cost
_SETTINGS = {
    "customer_managed_key": {
        "CloudWatchLogGroupEncrypted",
        "S3DefaultEncryptionKMS",
        "SNSEncryptedKMS",
        "SageMakerEndpointConfigurationKMSKeyConfigured",
        "CKV_AWS_26",
        "CKV_AWS_158",
    },
    "access_logging": {"S1", "S3BucketLoggingEnabled", "CKV_AWS_18"},
    "function_concurrency": {"LambdaConcurrency", "CKV_AWS_115"},
}


def is_configured(finding: Finding) -> bool:
    """Whether the environment has switched off the setting that the rule requires."""
    config: EnvironmentConfig = load_environment(finding.environment)
    return any(finding.name in rules and not getattr(config, setting) for setting, rules in _SETTINGS.items())
