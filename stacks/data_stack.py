"""What outlives every deployment: the bucket, the alert topic and SageMaker's execution role."""

from aws_cdk import ArnFormat, Aws, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stacks import prefixes
from stacks.builtin_image import BuiltinImage
from stacks.config import EnvironmentConfig


class DataStack(Stack):
    """Holds the data and is told of failures; deployed before the first training job."""

    def __init__(self, scope: Construct, construct_id: str, *, config: EnvironmentConfig) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: data and alerts")
        self.bucket = data_bucket(self, removal_policy=RemovalPolicy[config.removal_policy.upper()])
        self.alert_topic = sns.Topic(
            self, "AlertTopic", display_name=f"Scones Unlimited {config.name}", enforce_ssl=True
        )
        # The default policy would let alarms in, but the one that refuses plain HTTP takes its place
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
        if config.alert_email:
            self.alert_topic.add_subscription(subscriptions.EmailSubscription(config.alert_email))
        self.sagemaker_role = sagemaker_execution_role(self, bucket=self.bucket, image=BuiltinImage(self))

        CfnOutput(self, "BucketName", value=self.bucket.bucket_name)
        CfnOutput(self, "AlertTopicArn", value=self.alert_topic.topic_arn)
        CfnOutput(self, "SageMakerRoleArn", value=self.sagemaker_role.role_arn)


def data_bucket(scope: Construct, *, removal_policy: RemovalPolicy) -> s3.Bucket:
    """One bucket for everything; `stacks/prefixes.py` says what lies where."""
    bucket = s3.Bucket(
        scope,
        "Bucket",
        versioned=True,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        removal_policy=removal_policy,
        lifecycle_rules=[
            s3.LifecycleRule(id="ExpireCaptures", prefix=prefixes.DATA_CAPTURE, expiration=Duration.days(90)),
            s3.LifecycleRule(id="ExpireTransforms", prefix=prefixes.TRANSFORMS, expiration=Duration.days(7)),
            s3.LifecycleRule(
                id="ExpireOldVersions",
                noncurrent_version_expiration=Duration.days(30),
                expired_object_delete_marker=True,
                abort_incomplete_multipart_upload_after=Duration.days(7),
            ),
        ],
    )
    # The L2's event_bridge_enabled would add a custom resource with a function and rights of its own
    cfn_bucket = bucket.node.default_child
    assert isinstance(cfn_bucket, s3.CfnBucket)  # noqa: S101 - narrows the type
    cfn_bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
    )
    return bucket


def sagemaker_execution_role(scope: Stack, *, bucket: s3.IBucket, image: BuiltinImage) -> iam.Role:
    """What jobs and the endpoint may do: this bucket's channels and images, this container, their own logs."""
    role = iam.Role(
        scope,
        "SageMakerRole",
        description="Runs training jobs, transform jobs and the endpoint",
        assumed_by=iam.ServicePrincipal(
            "sagemaker.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        ),
    )
    readable = [prefixes.TRAIN, prefixes.TRAIN_LST, prefixes.TEST, prefixes.TEST_LST, prefixes.MODELS]
    readable += [prefixes.INCOMING, prefixes.SCHEDULED]  # Batch Transform's images
    readable += [prefixes.RETRAINING]  # the list of those that a candidate is evaluated on
    writable = [prefixes.MODELS, prefixes.DATA_CAPTURE, prefixes.TRANSFORMS, prefixes.RETRAINING]
    statements = {
        "ReadChannelsImagesAndArtifacts": (["s3:GetObject"], [bucket.arn_for_objects(f"{p}*") for p in readable]),
        "WriteArtifactsCapturesAndTransforms": (["s3:PutObject"], [bucket.arn_for_objects(f"{p}*") for p in writable]),
        "ListChannelsAndImages": (["s3:ListBucket"], [bucket.bucket_arn]),
        "PullImage": (
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            [image.repository_arn],
        ),
        "WriteLogs": (
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [
                scope.format_arn(service="logs", resource="log-group", resource_name=f"/aws/sagemaker/{kind}*").replace(
                    "log-group/", "log-group:"
                )
                for kind in ("TrainingJobs", "TransformJobs", f"Endpoints/{scope.node.path}")
            ],
        ),
    }
    for sid, (actions, resources) in statements.items():
        role.add_to_policy(iam.PolicyStatement(sid=sid, actions=actions, resources=resources))
    # Neither action supports resource-level permissions
    role.add_to_policy(
        iam.PolicyStatement(sid="SignInToRegistry", actions=["ecr:GetAuthorizationToken"], resources=["*"])
    )
    role.add_to_policy(
        iam.PolicyStatement(
            sid="PublishMetrics",
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "aws/sagemaker/*"]}},
        )
    )
    return role
