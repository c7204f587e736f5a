"""Which findings are what an environment's configuration asks for."""

from scanners.finding import Finding
from stacks.config import EnvironmentConfig, load_environment

# Rules by the setting that satisfies them: what each costs is for an environment's owner to decide
_SETTINGS = {
    "customer_managed_key": {
        "NIST.800.53.R5-CloudWatchLogGroupEncrypted",
        "NIST.800.53.R5-S3DefaultEncryptionKMS",
        "NIST.800.53.R5-SNSEncryptedKMS",
        "NIST.800.53.R5-SageMakerEndpointConfigurationKMSKeyConfigured",
        "CKV_AWS_26",
        "CKV_AWS_158",
    },
    "access_logging": {"AwsSolutions-S1", "NIST.800.53.R5-S3BucketLoggingEnabled", "CKV_AWS_18"},
    "function_concurrency": {"NIST.800.53.R5-LambdaConcurrency", "CKV_AWS_115"},
}


def is_configured(finding: Finding) -> bool:
    """Whether the environment has switched off what the rule asks for."""
    config: EnvironmentConfig = load_environment(finding.environment)
    return any(finding.rule in rules and not getattr(config, setting) for setting, rules in _SETTINGS.items())
