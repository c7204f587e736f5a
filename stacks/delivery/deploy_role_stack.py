"""The role with which a GitHub workflow deploys this environment, without a stored key.

The account needs GitHub's identity provider, once for all environments:
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
"""

from collections.abc import Mapping

from aws_cdk import ArnFormat, Aws, CfnOutput, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.config import EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.network_isolation import ISOLATED

ISSUER = "token.actions.githubusercontent.com"
# What data_prep reads and writes
DATA_SET_AND_MODELS = (
    "manifest.json",
    *(f"{p}*" for p in (prefixes.TRAIN, prefixes.TRAIN_LST, prefixes.TEST, prefixes.TEST_LST, prefixes.MODELS)),
)


# Actions and resources by statement id
Statements = Mapping[str, tuple[list[str], list[str]]]


class DeployRoleStack(Stack):
    """Allows the repository's GitHub environment of the same name to run `make deploy` for this environment."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        repository: str,
        bucket: s3.IBucket,
        alert_topic: sns.ITopic,
        sagemaker_role: iam.IRole,
        state_machine: sfn.StateMachine,
    ) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: deployment from GitHub")
        self._config, self._bucket = config, bucket
        role = self._role(repository)
        for sid, (actions, resources) in {
            **self._deployment(),
            **self._training(),
            **self._checks(alert_topic, state_machine),
        }.items():
            role.add_to_policy(iam.PolicyStatement(sid=sid, actions=actions, resources=resources))
        role.add_to_policy(
            iam.PolicyStatement(
                sid="TrainWithoutNetwork",
                actions=["sagemaker:CreateModel", "sagemaker:CreateTrainingJob"],
                resources=[self._own("sagemaker", kind) for kind in ("model", "training-job")],
                conditions=ISOLATED,
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="HandSageMakerItsRole",
                actions=["iam:PassRole"],
                resources=[sagemaker_role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            )
        )
        CfnOutput(self, "DeployRoleArn", value=role.role_arn)

    def _role(self, repository: str) -> iam.Role:
        config = self._config
        provider_arn = self.format_arn(service="iam", region="", resource="oidc-provider", resource_name=ISSUER)
        return iam.Role(
            self,
            "DeployRole",
            # .github/workflows/deploy-environment.yml uses this name. It has the region, because IAM is global.
            role_name=f"{config.stage_name}-deploy-{self.region}",
            description=f"Deploys {config.name} from {repository}",
            max_session_duration=Duration.hours(3),  # a training job may take one, an endpoint half of one
            assumed_by=iam.WebIdentityPrincipal(
                provider_arn,
                conditions={
                    "StringEquals": {
                        f"{ISSUER}:aud": "sts.amazonaws.com",
                        # GitHub issues this subject only to a job that has the environment's approvals
                        # https://docs.github.com/en/actions/reference/security/oidc
                        f"{ISSUER}:sub": f"repo:{repository}:environment:{config.name}",
                    }
                },
            ),
        )

    def _deployment(self) -> Statements:
        config = self._config
        return {
            # `cdk deploy` uses only the roles of `cdk bootstrap`
            "UseTheRolesOfCdk": (
                ["sts:AssumeRole"],
                [
                    f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/cdk-{config.qualifier}-{kind}-role-*"
                    for kind in ("deploy", "file-publishing", "lookup")
                ],
            ),
            # DescribeStacks without a name needs all stacks; the others have no resource-level permissions
            "LookAround": (
                [
                    "cloudformation:DescribeStacks",
                    "lambda:GetAccountSettings",
                    "sagemaker:ListTrainingJobs",
                    "servicequotas:ListAWSDefaultServiceQuotas",
                    "servicequotas:ListServiceQuotas",
                ],
                ["*"],
            ),
            "ReadDeployedTemplates": (
                ["cloudformation:GetTemplate"],
                [self._own("cloudformation", "stack", f"{config.stage_name}-*/*")],
            ),
            "ReadBootstrapVersion": (
                ["ssm:GetParameter"],
                [self._own("ssm", "parameter", f"cdk-bootstrap/{config.qualifier}/*")],
            ),
            "HandOverTheModel": (
                ["ssm:GetParameter", "ssm:PutParameter"],
                [self._own("ssm", "parameter", f"scones/{config.name}/*")],
            ),
        }

    def _training(self) -> Statements:
        bucket, takes_code = self._bucket, self._config.algorithm.takes_code
        return {
            "ListTheBucket": (["s3:ListBucket"], [bucket.bucket_arn]),
            "UploadTheDataSet": (
                ["s3:GetObject", "s3:PutObject"],
                [
                    bucket.arn_for_objects(key)
                    for key in (*DATA_SET_AND_MODELS, *([f"{prefixes.CODE}*"] if takes_code else []))
                ],
            ),
            "Train": (
                [
                    "sagemaker:AddTags",
                    "sagemaker:CreateTransformJob",
                    "sagemaker:DeleteModel",
                    "sagemaker:DescribeTrainingJob",
                    "sagemaker:DescribeTransformJob",
                ],
                [self._own("sagemaker", kind) for kind in ("model", "training-job", "transform-job")],
            ),
            "FollowTheTraining": (
                ["logs:FilterLogEvents"],
                [
                    self.format_arn(
                        service="logs",
                        resource="log-group",
                        resource_name=f"/aws/sagemaker/TrainingJobs{suffix}",
                        arn_format=ArnFormat.COLON_RESOURCE_NAME,
                    )
                    for suffix in ("", ":*")
                ],
            ),
        }

    def _checks(self, alert_topic: sns.ITopic, state_machine: sfn.StateMachine) -> Statements:
        """Statements for `ops doctor` and the smoke test."""
        colon = ArnFormat.COLON_RESOURCE_NAME
        return {
            "LookForSubscribers": (["sns:ListSubscriptionsByTopic"], [alert_topic.topic_arn]),
            "TryTheEndpoint": (
                ["sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint"],
                [self._own("sagemaker", "endpoint", self._config.endpoint_name)],
            ),
            "TryTheWorkflow": (["states:StartExecution"], [state_machine.state_machine_arn]),
            "FollowTheWorkflow": (
                ["states:DescribeExecution"],
                [
                    self.format_arn(
                        service="states",
                        resource="execution",
                        # From its ARN, which is exported even without this stack
                        resource_name=f"{self.split_arn(state_machine.state_machine_arn, colon).resource_name}:*",
                        arn_format=colon,
                    )
                ],
            ),
        }

    def _own(self, service: str, resource: str, name: str | None = None) -> str:
        """ARN of the environment's resources of this type, or of the one with this name."""
        name = name or f"{self._config.stage_name}-*"
        return self.format_arn(service=service, resource=resource, resource_name=name)
