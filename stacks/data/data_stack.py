"""What outlives every deployment: the bucket, the alert topic and SageMaker's execution role."""

from aws_cdk import ArnFormat, Aws, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.data.sagemaker_role import SageMakerRole
from stacks.shared import prefixes
from stacks.shared.encryption import environment_key
from stacks.shared.scanner_exceptions import acknowledge
from stacks.shared.service_principal import budgets_of_this_account


class DataStack(Stack):
    """Holds the data and the alert topic; deployed before the first training job."""

    def __init__(self, scope: Construct, construct_id: str, *, config: EnvironmentConfig) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: data and alerts")
        self.key = environment_key(self, config=config) if config.customer_managed_key else None
        self.bucket = data_bucket(self, config=config, key=self.key)
        self.alert_topic = sns.Topic(
            self, "AlertTopic", display_name=f"Scones Unlimited {config.name}", enforce_ssl=True, master_key=self.key
        )
        # The default policy allows alarms, but the policy that refuses plain HTTP replaces it
        self.alert_topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="PublishAlarms",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.alert_topic.topic_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                    "ArnLike": {
                        "aws:SourceArn": self.format_arn(
                            service="cloudwatch",
                            resource="alarm",
                            resource_name=f"{config.stage_name}-*",
                            arn_format=ArnFormat.COLON_RESOURCE_NAME,
                        )
                    },
                },
            )
        )
        if config.monitoring.monthly_budget_usd:
            self.alert_topic.add_to_resource_policy(
                iam.PolicyStatement(
                    sid="PublishBudgets",
                    principals=[iam.ServicePrincipal("budgets.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[self.alert_topic.topic_arn],
                    conditions=budgets_of_this_account(),
                )
            )
        if config.alert_email:
            self.alert_topic.add_subscription(subscriptions.EmailSubscription(config.alert_email))
        self.sagemaker_role = SageMakerRole(self, "SageMakerRole", config=config, bucket=self.bucket)

        CfnOutput(self, "BucketName", value=self.bucket.bucket_name)
        CfnOutput(self, "AlertTopicArn", value=self.alert_topic.topic_arn)
        CfnOutput(self, "SageMakerRoleArn", value=self.sagemaker_role.role_arn)
        if self.key:
            CfnOutput(self, "KeyArn", value=self.key.key_arn)


def data_bucket(scope: Construct, *, config: EnvironmentConfig, key: kms.IKey | None) -> s3.Bucket:
    """One bucket for everything; `stacks/shared/prefixes.py` lists its prefixes."""
    removal_policy = RemovalPolicy[config.removal_policy.upper()]
    bucket = s3.Bucket(
        scope,
        "Bucket",
        versioned=True,
        encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
        encryption_key=key,
        bucket_key_enabled=key is not None,  # one request to KMS for many objects
        server_access_logs_bucket=_access_log_bucket(scope, config=config) if config.access_logging else None,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        removal_policy=removal_policy,
        lifecycle_rules=[
            s3.LifecycleRule(id="ExpireCaptures", prefix=prefixes.DATA_CAPTURE, expiration=Duration.days(90)),
            s3.LifecycleRule(id="ExpireTransforms", prefix=prefixes.TRANSFORMS, expiration=Duration.days(7)),
            # Needed until the endpoint is resumed; longer than any pause
            s3.LifecycleRule(id="ExpireWaiting", prefix=prefixes.WAITING, expiration=Duration.days(365)),
            s3.LifecycleRule(
                id="ExpireOldVersions",
                noncurrent_version_expiration=Duration.days(30),
                expired_object_delete_marker=True,
                abort_incomplete_multipart_upload_after=Duration.days(7),
            ),
        ],
    )
    acknowledge(
        bucket,
        {
            "S3BucketReplicationEnabled": (
                "Versions protect from overwriting; a copy in a second region is a decision of the account's owner"
            )
        },
    )
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid="DeliverInventories",
            principals=[iam.ServicePrincipal("s3.amazonaws.com")],
            actions=["s3:PutObject"],
            resources=[bucket.arn_for_objects(f"{prefixes.BULK}*")],
            conditions={
                "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                "ArnLike": {"aws:SourceArn": bucket.bucket_arn},
            },
        )
    )
    # The L2's event_bridge_enabled would add a custom resource with a function and a role of its own
    cfn_bucket = bucket.node.default_child
    assert isinstance(cfn_bucket, s3.CfnBucket)  # noqa: S101 - narrows the type
    cfn_bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
    )
    return bucket


def _access_log_bucket(scope: Construct, *, config: EnvironmentConfig) -> s3.Bucket:
    """Who read and wrote what in the data bucket, kept as long as the logs."""
    bucket = s3.Bucket(
        scope,
        "AccessLogs",
        versioned=True,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        removal_policy=RemovalPolicy[config.removal_policy.upper()],
        lifecycle_rules=[
            s3.LifecycleRule(
                id="ExpireAccessLogs",
                expiration=Duration.days(config.log_retention_days),
                noncurrent_version_expiration=Duration.days(1),
            )
        ],
    )
    acknowledge(
        bucket,
        {
            "AwsSolutions-S1 S3BucketLoggingEnabled CKV_AWS_18": (
                "Holds the access logs: logging the access to itself would not end"
            ),
            "S3DefaultEncryptionKMS": "S3 delivers access logs only to buckets that are encrypted with S3's own keys",
            "S3BucketReplicationEnabled": "Logs of access to a bucket that is not replicated either",
        },
    )
    return bucket
