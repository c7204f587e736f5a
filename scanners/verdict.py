"""Which findings are what an environment's configuration asks for."""

from scanners.finding import Finding
from stacks.config import EnvironmentConfig, load_environment

# Rules by the setting that satisfies them: what each costs is for an environment's owner to decide
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
    """Whether the environment has switched off what the rule asks for."""
    config: EnvironmentConfig = load_environment(finding.environment)
    return any(finding.name in rules and not getattr(config, setting) for setting, rules in _SETTINGS.items())
