"""SageMaker's own monitoring schedules, beside our drift monitor: data quality, and model quality with ground truth.

Off by default: Model Monitor takes no new customers, so an account must have it already. Its container gets rows of
numbers from lambda_src/monitoring/record_preprocessor.py. Without constraints it only writes statistics and violations
files below `monitoring/sagemaker/`; a baselining job of one's own adds them.
"""

from typing import Any

from aws_cdk import ArnFormat, Aws, CfnMapping, CfnTag, Fn, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from stacks.config import PROJECT_ROOT, EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.sagemaker_role import SageMakerRole

REPOSITORY = "sagemaker-model-monitor-analyzer"
# Those of the SageMaker SDK's model-monitor.json (a test compares them)
REGISTRY_ACCOUNTS = {
    "af-south-1": "875698925577",
    "ap-east-1": "001633400207",
    "ap-northeast-1": "574779866223",
    "ap-northeast-2": "709848358524",
    "ap-northeast-3": "990339680094",
    "ap-south-1": "126357580389",
    "ap-southeast-1": "245545462676",
    "ap-southeast-2": "563025443158",
    "ap-southeast-3": "669540362728",
    "ca-central-1": "536280801234",
    "cn-north-1": "453000072557",
    "cn-northwest-1": "453252182341",
    "eu-central-1": "048819808253",
    "eu-central-2": "590183933784",
    "eu-north-1": "895015795356",
    "eu-south-1": "933208885752",
    "eu-south-2": "437450045455",
    "eu-west-1": "468650794304",
    "eu-west-2": "749857270468",
    "eu-west-3": "680080141114",
    "il-central-1": "843974653677",
    "me-central-1": "588750061953",
    "me-south-1": "607024016150",
    "sa-east-1": "539772159869",
    "us-east-1": "156813124566",
    "us-east-2": "777275614652",
    "us-isof-east-1": "853188333426",
    "us-isof-south-1": "467912361380",
    "us-west-1": "890145073186",
    "us-west-2": "159807026194",
}

OUTPUT = f"{prefixes.MONITORING}sagemaker/"
_INPUT_PATH = "/opt/ml/processing/input"
_OUTPUT_PATH = "/opt/ml/processing/output"
_HOURLY = "cron(0 * ? * * *)"
_DAILY = "cron(0 0 ? * * *)"


class SageMakerModelMonitor(Construct):
    """Two job definitions and their schedules over the endpoint's captures."""

    def __init__(self, scope: Construct, construct_id: str, *, config: EnvironmentConfig, bucket: s3.IBucket) -> None:
        super().__init__(scope, construct_id)
        self._config, self._bucket = config, bucket
        preprocessor = assets.Asset(
            self, "RecordPreprocessor", path=str(PROJECT_ROOT / "lambda_src" / "monitoring" / "record_preprocessor.py")
        )
        account = CfnMapping(
            self,
            "AnalyzerRegistry",
            mapping={region: {"account": account} for region, account in REGISTRY_ACCOUNTS.items()},
        ).find_in_map(Aws.REGION, "account")
        image = Fn.join("", [account, ".dkr.ecr.", Aws.REGION, ".", Aws.URL_SUFFIX, f"/{REPOSITORY}"])
        role = self._role(preprocessor, registry_account=account)
        data_quality = sagemaker.CfnDataQualityJobDefinition(
            self,
            "DataQuality",
            role_arn=role.role_arn,
            data_quality_app_specification=sagemaker.CfnDataQualityJobDefinition.DataQualityAppSpecificationProperty(
                image_uri=image, record_preprocessor_source_uri=preprocessor.s3_object_url
            ),
            data_quality_job_input=sagemaker.CfnDataQualityJobDefinition.DataQualityJobInputProperty(
                endpoint_input=sagemaker.CfnDataQualityJobDefinition.EndpointInputProperty(
                    endpoint_name=config.endpoint_name, local_path=_INPUT_PATH
                )
            ),
            data_quality_job_output_config=self._output(sagemaker.CfnDataQualityJobDefinition, "data-quality"),
            job_resources=_instance(sagemaker.CfnDataQualityJobDefinition),
            stopping_condition=sagemaker.CfnDataQualityJobDefinition.StoppingConditionProperty(
                max_runtime_in_seconds=3000  # an hourly job must end within its hour
            ),
        )
        model_quality = sagemaker.CfnModelQualityJobDefinition(
            self,
            "ModelQuality",
            role_arn=role.role_arn,
            model_quality_app_specification=sagemaker.CfnModelQualityJobDefinition.ModelQualityAppSpecificationProperty(
                image_uri=image,
                problem_type="MulticlassClassification",
                record_preprocessor_source_uri=preprocessor.s3_object_url,
            ),
            model_quality_job_input=sagemaker.CfnModelQualityJobDefinition.ModelQualityJobInputProperty(
                endpoint_input=sagemaker.CfnModelQualityJobDefinition.EndpointInputProperty(
                    endpoint_name=config.endpoint_name,
                    local_path=_INPUT_PATH,
                    inference_attribute="prediction",  # a column of the preprocessor
                    # Labels have a day to arrive
                    start_time_offset="-P2D",
                    end_time_offset="-P1D",
                ),
                ground_truth_s3_input=sagemaker.CfnModelQualityJobDefinition.MonitoringGroundTruthS3InputProperty(
                    s3_uri=bucket.s3_url_for_object(prefixes.GROUND_TRUTH.rstrip("/"))
                ),
            ),
            model_quality_job_output_config=self._output(sagemaker.CfnModelQualityJobDefinition, "model-quality"),
            job_resources=_instance(sagemaker.CfnModelQualityJobDefinition),
            stopping_condition=sagemaker.CfnModelQualityJobDefinition.StoppingConditionProperty(
                max_runtime_in_seconds=3600
            ),
        )
        self._schedule("DataQualitySchedule", "DataQuality", data_quality.attr_job_definition_arn, _HOURLY, role)
        self._schedule("ModelQualitySchedule", "ModelQuality", model_quality.attr_job_definition_arn, _DAILY, role)

    # Both types of definition have these parts, each as classes of its own
    def _output(self, definition: Any, folder: str) -> Any:
        return definition.MonitoringOutputConfigProperty(
            monitoring_outputs=[
                definition.MonitoringOutputProperty(
                    s3_output=definition.S3OutputProperty(
                        local_path=_OUTPUT_PATH, s3_uri=self._bucket.s3_url_for_object(f"{OUTPUT}{folder}")
                    )
                )
            ]
        )

    def _schedule(self, name: str, kind: str, definition_arn: str, expression: str, role: iam.Role) -> None:
        schedule = sagemaker.CfnMonitoringSchedule(
            self,
            name,
            monitoring_schedule_name=f"{self._config.stage_name}-{kind.lower()}",
            monitoring_schedule_config=sagemaker.CfnMonitoringSchedule.MonitoringScheduleConfigProperty(
                monitoring_type=kind,
                # The ARN ends in the name, which the type does not return by itself
                monitoring_job_definition_name=Fn.select(1, Fn.split("/", definition_arn)),
                schedule_config=sagemaker.CfnMonitoringSchedule.ScheduleConfigProperty(schedule_expression=expression),
            ),
            tags=[CfnTag(key="component", value="model-monitor")],
        )
        schedule.node.add_dependency(role)

    def _role(self, preprocessor: assets.Asset, *, registry_account: str) -> iam.Role:
        """What the monitoring jobs may do: captures and labels in, reports out."""
        stack, bucket, endpoint = Stack.of(self), self._bucket, self._config.endpoint_name
        readable = [f"{prefixes.DATA_CAPTURE}{endpoint}/*", f"{prefixes.GROUND_TRUTH}*", f"{OUTPUT}*"]
        repository = stack.format_arn(
            service="ecr",
            account=registry_account,
            resource="repository",
            resource_name=REPOSITORY,
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )
        role = SageMakerRole(
            self,
            "Role",
            description="Runs SageMaker's monitoring jobs",
            repository_arns=[repository],
            log_groups=["ProcessingJobs"],
        )
        role.allow(
            "ReadCapturesAndLabels",
            ["s3:GetObject"],
            [
                *(bucket.arn_for_objects(key) for key in readable),
                preprocessor.bucket.arn_for_objects(preprocessor.s3_object_key),
            ],
        )
        role.allow("List", ["s3:ListBucket"], [bucket.bucket_arn])
        role.allow("WriteReports", ["s3:PutObject"], [bucket.arn_for_objects(f"{OUTPUT}*")])
        role.allow(
            "FindCaptures",
            ["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig"],
            [
                stack.format_arn(service="sagemaker", resource="endpoint", resource_name=endpoint),
                # Its name is made up at each deployment
                stack.format_arn(service="sagemaker", resource="endpoint-config", resource_name="*"),
            ],
        )
        return role


def _instance(definition: Any) -> Any:
    return definition.MonitoringResourcesProperty(
        cluster_config=definition.ClusterConfigProperty(
            instance_count=1, instance_type="ml.m5.xlarge", volume_size_in_gb=20
        )
    )
