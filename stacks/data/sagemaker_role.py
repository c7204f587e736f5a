"""The execution role of SageMaker's training jobs, transform jobs and endpoint."""

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.algorithm import ALGORITHMS
from stacks.shared.algorithm_image import AlgorithmImage
from stacks.shared.encryption import let_services_encrypt_volumes
from stacks.shared.guardrails import guardrail_alarm_arns
from stacks.shared.service_principal import of_this_account


class SageMakerRole(iam.Role):
    """May read the bucket's channels and images, write artifacts, captures and transforms, and run the containers."""

    def __init__(self, scope: Construct, construct_id: str, *, config: EnvironmentConfig, bucket: s3.IBucket) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Runs training jobs, transform jobs and the endpoint",
            assumed_by=of_this_account("sagemaker"),
        )
        self._allow_running_containers(config)
        self._allow_data(config, bucket)
        if alarms := guardrail_alarm_arns(Stack.of(self), config):
            self._allow("WatchUpdatesOfTheEndpoint", ["cloudwatch:DescribeAlarms"], alarms)
        if config.training.spot:
            self._allow(
                "ResumeFromCheckpoints",  # SageMaker deletes what the container deletes
                ["s3:GetObject", "s3:DeleteObject"],
                [bucket.arn_for_objects(f"{prefixes.MODELS}*/checkpoints/*")],
            )
        if bucket.encryption_key:
            self.add_to_policy(let_services_encrypt_volumes(bucket.encryption_key))
            self._allow("EncryptArtifacts", ["kms:Encrypt"], [bucket.encryption_key.key_arn])

    def _allow_running_containers(self, config: EnvironmentConfig) -> None:
        """Pull an image, write logs and publish metrics."""
        stack = Stack.of(self)
        self._allow(
            "PullImage",
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            # Also the image of the algorithm that is not configured: a rollback may lead to one of its models
            [AlgorithmImage(stack, algorithm).repository_arn for algorithm in ALGORITHMS.values()],
        )
        self._allow(
            "WriteLogs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [
                stack.format_arn(
                    service="logs",
                    resource="log-group",
                    resource_name=f"/aws/sagemaker/{name}{suffix}",
                    arn_format=ArnFormat.COLON_RESOURCE_NAME,
                )
                for name in ("TrainingJobs", "TransformJobs", f"Endpoints/{config.endpoint_name}")
                for suffix in ("", ":*")  # the group, and its streams
            ],
        )
        # Neither action supports resource-level permissions
        self._allow("SignInToRegistry", ["ecr:GetAuthorizationToken"], ["*"])
        self._allow(
            "PublishMetrics",
            ["cloudwatch:PutMetricData"],
            ["*"],
            conditions={"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "aws/sagemaker/*"]}},
        )

    def _allow_data(self, config: EnvironmentConfig, bucket: s3.IBucket) -> None:
        """Read channels, images and artifacts; write artifacts, captures and transform outputs."""
        channels = [*config.algorithm.channels.values(), *([prefixes.CODE] if config.algorithm.takes_code else [])]
        images = [prefixes.INCOMING, prefixes.SCHEDULED]  # for Batch Transform
        lists = [f"{prefixes.BULK}*.manifest", f"{prefixes.RETRAINING}*/validation.manifest"]
        evaluations = [f"{prefixes.RETRAINING}*/{model}/" for model in ("candidate", "incumbent")]
        readable = [*(f"{p}*" for p in (*channels, *images, f"{prefixes.MODELS}*/output/")), *lists]
        writable = [f"{p}*" for p in (prefixes.MODELS, prefixes.DATA_CAPTURE, prefixes.TRANSFORMS, *evaluations)]
        self._allow(
            "ReadChannelsImagesAndArtifacts", ["s3:GetObject"], [bucket.arn_for_objects(key) for key in readable]
        )
        self._allow(
            "WriteArtifactsCapturesAndTransforms", ["s3:PutObject"], [bucket.arn_for_objects(key) for key in writable]
        )
        self._allow("ListChannelsAndImages", ["s3:ListBucket"], [bucket.bucket_arn])

    def _allow(
        self,
        sid: str,
        actions: list[str],
        resources: list[str],
        *,
        conditions: dict[str, dict[str, str | list[str]]] | None = None,
    ) -> None:
        """One statement, whose `sid` says what it is for."""
        self.add_to_policy(iam.PolicyStatement(sid=sid, actions=actions, resources=resources, conditions=conditions))
