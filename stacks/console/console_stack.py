"""The permissions for `python -m ops console`, as policies to attach to users, groups or permission sets.

The console itself is not deployed: it runs on the operator's machine, with the operator's own credentials.
"""

from collections.abc import Mapping

from aws_cdk import ArnFormat, CfnOutput, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.function import IF_NEW, IF_UNCHANGED

_IMAGES = (prefixes.INCOMING, prefixes.SCHEDULED, prefixes.TEST)
_REVIEWS = f"{prefixes.GROUND_TRUTH}reviews/"
_DATA_SET_DOCUMENTS = (f"{prefixes.TRAIN_LST}train.lst", f"{prefixes.TEST_LST}test.lst", "manifest.json")


class ConsoleStack(Stack):
    """Two policies: Reviewer, and Approver, which adds decisions on models. They cost nothing."""

    def __init__(self, scope: Construct, construct_id: str, *, config: EnvironmentConfig, bucket: s3.IBucket) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: who may use the console")
        # By name: references would add exports, and make this stack depend on those of the workflows
        workflows = [f"{config.stage_name}-classification", config.distributed_map_name, config.batch_transform_name]

        def own(service: str, resource: str, name: str, separator: ArnFormat = ArnFormat.SLASH_RESOURCE_NAME) -> str:
            return self.format_arn(service=service, resource=resource, resource_name=name, arn_format=separator)

        def objects(*places: str) -> list[str]:
            return [bucket.arn_for_objects(f"{prefix}*") for prefix in places]

        colon = ArnFormat.COLON_RESOURCE_NAME
        lists = [bucket.arn_for_objects(key) for key in _DATA_SET_DOCUMENTS]
        # Without descriptions: with another wording CloudFormation would replace a policy, and nobody would have it
        reviewer = iam.ManagedPolicy(self, "Reviewer")
        statements: Mapping[str, tuple[list[str], list[str]]] = {
            "FindTheEnvironment": (
                ["cloudformation:DescribeStacks"],
                [own("cloudformation", "stack", f"{config.stage_name}-*/*")],
            ),
            "ListExecutions": (
                ["states:ListExecutions"],
                [own("states", "stateMachine", workflow, colon) for workflow in workflows],
            ),
            "ReadExecutions": (
                [
                    "states:DescribeExecution",
                    "states:DescribeStateMachineForExecution",
                    "states:GetExecutionHistory",
                ],
                [own("states", "execution", f"{workflow}:*", colon) for workflow in workflows],
            ),
            "SeeTheEndpoint": (
                ["sagemaker:DescribeEndpoint"],
                [own("sagemaker", "endpoint", config.endpoint_name)],
            ),
            "ReadTheModelsOrigin": (
                ["ssm:GetParameter"],
                [own("ssm", "parameter", config.model_metadata_parameter.removeprefix("/"))],
            ),
            "SeeAlarms": (
                ["cloudwatch:DescribeAlarms"],
                [own("cloudwatch", "alarm", f"{config.stage_name}-*", colon)],
            ),
            # Without it S3 returns 403, not 404, for an object that does not exist
            "ListTheBucket": (["s3:ListBucket"], [bucket.bucket_arn]),
            "ReadOutcomes": (
                ["s3:GetObject"],
                objects(prefixes.MANIFESTS, prefixes.RELEASES, f"{prefixes.MONITORING}drift/"),
            ),
            "SeeWhetherItIsPaused": (["s3:GetObject"], [bucket.arn_for_objects(prefixes.PAUSE)]),
            "SeePictures": (["s3:GetObject", "s3:GetObjectVersion"], objects(*_IMAGES)),
            "ReadReviewsAndTheDataSet": (
                ["s3:GetObject"],
                [*objects(_REVIEWS, prefixes.TRAIN), *lists],
            ),
            # To find a run in progress, during which the data set must not change
            "ListRetrainingRuns": (
                ["states:ListExecutions"],
                [own("states", "stateMachine", config.retraining_name, colon)],
            ),
        }
        for name, (actions, resources) in statements.items():
            reviewer.add_statements(iam.PolicyStatement(sid=name, actions=actions, resources=resources))
        reviewed = objects(f"{prefixes.TRAIN}reviewed/", f"{prefixes.TEST}reviewed/")
        changed = [*objects(_REVIEWS), bucket.arn_for_objects(prefixes.READY_MARKER)]
        reviewer.add_statements(
            iam.PolicyStatement(
                sid="ClassifyReviewAndPublish",
                actions=["s3:PutObject"],
                resources=[*objects(prefixes.INCOMING), *reviewed, *changed],
                conditions=IF_NEW,
            ),
            iam.PolicyStatement(
                sid="ChangeReviewsAndTheDataSet",
                actions=["s3:PutObject"],
                resources=[*changed, *lists],
                conditions=IF_UNCHANGED,
            ),
        )
        approver = iam.ManagedPolicy(self, "Approver")
        package = own("sagemaker", "model-package", f"{config.model_package_group}/*")
        approving: Mapping[str, tuple[list[str], list[str]]] = {
            "ListModels": (["sagemaker:ListModelPackages"], ["*"]),  # no resource-level permissions
            "DecideOnModels": (["sagemaker:DescribeModelPackage", "sagemaker:UpdateModelPackage"], [package]),
            "ReadTheirOrigin": (
                ["sagemaker:DescribeTrainingJob", "sagemaker:ListTags"],
                [own("sagemaker", "training-job", f"{config.stage_name}-*")],
            ),
            # Not the artifacts
            "ReadTheirEvaluation": (
                ["s3:GetObject"],
                [
                    bucket.arn_for_objects(f"{prefixes.MODELS}*/{name}.json")
                    for name in ("manifest", "predictions", "evaluation")
                ],
            ),
            "Retrain": (
                ["states:StartExecution", "states:ListExecutions"],
                [own("states", "stateMachine", config.retraining_name, colon)],
            ),
            "FollowRuns": (
                ["states:GetExecutionHistory"],
                [own("states", "execution", f"{config.retraining_name}:*", colon)],
            ),
        }
        for name, (actions, resources) in approving.items():
            approver.add_statements(iam.PolicyStatement(sid=name, actions=actions, resources=resources))
        CfnOutput(self, "ApproverPolicyArn", value=approver.managed_policy_arn)
        CfnOutput(self, "ReviewerPolicyArn", value=reviewer.managed_policy_arn)
