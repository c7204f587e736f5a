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
_COLON = ArnFormat.COLON_RESOURCE_NAME
_REVIEWS = f"{prefixes.GROUND_TRUTH}reviews/"
_DATA_SET_DOCUMENTS = (f"{prefixes.TRAIN_LST}train.lst", f"{prefixes.TEST_LST}test.lst", "manifest.json")

# Actions and resources by statement id
_Statements = Mapping[str, tuple[list[str], list[str]]]


class ConsoleStack(Stack):
    """Two policies: Reviewer, and Approver, which adds decisions on models. They cost nothing."""

    def __init__(self, scope: Construct, construct_id: str, *, config: EnvironmentConfig, bucket: s3.IBucket) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: who may use the console")
        self._config, self._bucket = config, bucket
        # Without descriptions: CloudFormation replaces a policy whose description changes, which detaches it
        reviewer = iam.ManagedPolicy(self, "Reviewer")
        self._allow_to_review(reviewer)
        approver = iam.ManagedPolicy(self, "Approver")
        self._allow_to_approve(approver)
        CfnOutput(self, "ApproverPolicyArn", value=approver.managed_policy_arn)
        CfnOutput(self, "ReviewerPolicyArn", value=reviewer.managed_policy_arn)

    def _allow_to_review(self, reviewer: iam.ManagedPolicy) -> None:
        bucket = self._bucket
        lists = [bucket.arn_for_objects(key) for key in _DATA_SET_DOCUMENTS]
        _allow(reviewer, {**self._state(), **self._outcomes(), **self._reviews(lists)})
        reviewed = self._objects(f"{prefixes.TRAIN}reviewed/", f"{prefixes.TEST}reviewed/")
        changed = [*self._objects(_REVIEWS), bucket.arn_for_objects(prefixes.READY_MARKER)]
        reviewer.add_statements(
            iam.PolicyStatement(
                sid="ClassifyReviewAndPublish",
                actions=["s3:PutObject"],
                resources=[*self._objects(prefixes.INCOMING), *reviewed, *changed],
                conditions=IF_NEW,
            ),
            iam.PolicyStatement(
                sid="ChangeReviewsAndTheDataSet",
                actions=["s3:PutObject"],
                resources=[*changed, *lists],
                conditions=IF_UNCHANGED,
            ),
        )

    def _state(self) -> _Statements:
        """To read the environment's state: stacks, executions, endpoint, model, alarms."""
        config = self._config
        # By name: references would add exports, and dependencies on the stacks of the workflows
        workflows = [f"{config.stage_name}-classification", config.distributed_map_name, config.batch_transform_name]
        return {
            "FindTheEnvironment": (
                ["cloudformation:DescribeStacks"],
                [self._own("cloudformation", "stack", f"{config.stage_name}-*/*")],
            ),
            "ListExecutions": (
                ["states:ListExecutions"],
                [self._own("states", "stateMachine", workflow, _COLON) for workflow in workflows],
            ),
            "ReadExecutions": (
                [
                    "states:DescribeExecution",
                    "states:DescribeStateMachineForExecution",
                    "states:GetExecutionHistory",
                ],
                [self._own("states", "execution", f"{workflow}:*", _COLON) for workflow in workflows],
            ),
            "SeeTheEndpoint": (
                ["sagemaker:DescribeEndpoint"],
                [self._own("sagemaker", "endpoint", config.endpoint_name)],
            ),
            "ReadTheModelsOrigin": (
                ["ssm:GetParameter"],
                [self._own("ssm", "parameter", config.model_metadata_parameter.removeprefix("/"))],
            ),
            "SeeAlarms": (
                ["cloudwatch:DescribeAlarms"],
                [self._own("cloudwatch", "alarm", f"{config.stage_name}-*", _COLON)],
            ),
        }

    def _outcomes(self) -> _Statements:
        """To read from the bucket what became of the pictures, and what was released."""
        bucket = self._bucket
        return {
            # Without it S3 returns 403, not 404, for an object that does not exist
            "ListTheBucket": (["s3:ListBucket"], [bucket.bucket_arn]),
            "ReadOutcomes": (
                ["s3:GetObject"],
                self._objects(prefixes.MANIFESTS, prefixes.RELEASES, f"{prefixes.MONITORING}drift/"),
            ),
            "SeeWhetherItIsPaused": (["s3:GetObject"], [bucket.arn_for_objects(prefixes.PAUSE)]),
            "SeePictures": (["s3:GetObject", "s3:GetObjectVersion"], self._objects(*_IMAGES)),
        }

    def _reviews(self, lists: list[str]) -> _Statements:
        """To read the reviews, and the data set to which they are published. lists: ARNs of its lists and manifest."""
        return {
            "ReadReviewsAndTheDataSet": (["s3:GetObject"], [*self._objects(_REVIEWS, prefixes.TRAIN), *lists]),
            # To find a run in progress, during which the data set must not change
            "ListRetrainingRuns": (
                ["states:ListExecutions"],
                [self._own("states", "stateMachine", self._config.retraining_name, _COLON)],
            ),
        }

    def _allow_to_approve(self, approver: iam.ManagedPolicy) -> None:
        config, bucket = self._config, self._bucket
        package = self._own("sagemaker", "model-package", f"{config.model_package_group}/*")
        approving: _Statements = {
            "ListModels": (["sagemaker:ListModelPackages"], ["*"]),  # no resource-level permissions
            "DecideOnModels": (["sagemaker:DescribeModelPackage", "sagemaker:UpdateModelPackage"], [package]),
            "ReadTheirOrigin": (
                ["sagemaker:DescribeTrainingJob", "sagemaker:ListTags"],
                [self._own("sagemaker", "training-job", f"{config.stage_name}-*")],
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
                [self._own("states", "stateMachine", config.retraining_name, _COLON)],
            ),
            "FollowRuns": (
                ["states:GetExecutionHistory"],
                [self._own("states", "execution", f"{config.retraining_name}:*", _COLON)],
            ),
        }
        _allow(approver, approving)

    def _own(self, service: str, resource: str, name: str, separator: ArnFormat = ArnFormat.SLASH_RESOURCE_NAME) -> str:
        return self.format_arn(service=service, resource=resource, resource_name=name, arn_format=separator)

    def _objects(self, *places: str) -> list[str]:
        return [self._bucket.arn_for_objects(f"{prefix}*") for prefix in places]


def _allow(policy: iam.ManagedPolicy, statements: _Statements) -> None:
    for name, (actions, resources) in statements.items():
        policy.add_statements(iam.PolicyStatement(sid=name, actions=actions, resources=resources))
