"""The functions of the retraining workflow, each with its environment variables and permissions."""

from collections.abc import Iterable, Sequence

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from lambda_src.shared.model_documents import document_key
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes
from stacks.shared.deployment_config import deployment_config
from stacks.shared.encryption import let_services_encrypt_volumes
from stacks.shared.function import Function
from stacks.shared.guardrails import guardrail_alarm_arns
from stacks.shared.hyperparameters import parameters_digest
from stacks.shared.local_storage import volume_key_of
from stacks.shared.network_isolation import ISOLATED

_ONE_CPU_MB = 1769
_RUN_LOCK = f"{prefixes.RETRAINING}ledger.json"


class RetrainingFunctions:
    """Creates the functions and their permissions in `stack`. `by_state` has each under the name of its state."""

    def __init__(
        self, stack: Stack, *, config: EnvironmentConfig, bucket: s3.IBucket, pass_role: iam.PolicyStatement
    ) -> None:
        """pass_role: a statement that allows passing SageMaker's role."""
        self._stack = stack
        self._config = config
        self._bucket = bucket
        self._pass_role = pass_role
        stage = f"{config.stage_name}-*"
        self._endpoint = self._sagemaker_arn("endpoint", config.endpoint_name)
        self._own_config = self._sagemaker_arn("endpoint-config", stage)
        self._own_model = self._sagemaker_arn("model", stage)
        self._own_job = self._sagemaker_arn("training-job", stage)
        # CloudFormation may have created the model in service and its config, under generated names
        self._any_config, self._any_model = (self._sagemaker_arn(kind, "*") for kind in ("endpoint-config", "model"))
        # In the order of the states
        made = (
            self._retraining_guard(),
            self._validate_data_set(),
            self._prepare_training(),
            self._prepare_evaluation(),
            self._prepare_rollback(),
            self._evaluate_models(),
            self._release_model(),
            self._restore_endpoint(),
            self._smoke_test(),
            self._record_release(),
        )
        self.by_state = {function.node.id: function for function in made}

    def _retraining_guard(self) -> Function:
        guard = self._function(
            "RetrainingGuard",
            BUCKET_NAME=self._bucket.bucket_name,
            COOL_DOWN_MINUTES=self._config.retraining.cool_down_minutes,
        )
        self._let_read(guard, [_RUN_LOCK, prefixes.PAUSE])
        self._let_write(guard, [_RUN_LOCK])
        executions = self._stack.format_arn(
            service="states",
            resource="execution",
            resource_name=f"{self._config.retraining_name}:*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        guard.allow(["states:DescribeExecution"], [executions])
        return guard

    def _validate_data_set(self) -> Function:
        validate = self._function(
            "ValidateDataSet", reads_all_images=True, BUCKET_NAME=self._bucket.bucket_name, CLASSES=self._classes
        )
        self._let_read(
            validate, ["manifest.json", *(f"{prefix}*" for prefix in self._config.algorithm.channels.values())]
        )
        self._let_write(validate, [f"{prefixes.RETRAINING}*/validation.manifest"])
        return validate

    def _prepare_training(self) -> Function:
        prepare = self._function(
            "PrepareTraining",
            BUCKET_NAME=self._bucket.bucket_name,
            CLASSES=self._classes,
            STAGE_NAME=self._config.stage_name,
            PARAMETERS_DIGEST=parameters_digest(self._config),
        )
        self._let_read(prepare, ["manifest.json"])
        self._let_write(prepare, [document_key("*", "manifest")])
        prepare.allow(["sagemaker:DescribeTrainingJob"], [self._own_job])
        prepare.allow(["sagemaker:ListTrainingJobs"], ["*"])
        return prepare

    def _prepare_evaluation(self) -> Function:
        prepare = self._function(
            "PrepareEvaluation",
            ENDPOINT_NAME=self._config.endpoint_name,
            STAGE_NAME=self._config.stage_name,
            ARTIFACT_PARAMETER=self._config.artifact_parameter,
        )
        self._let_make_model(prepare)
        return prepare

    def _prepare_rollback(self) -> Function:
        prepare = self._function(
            "PrepareRollback",
            BUCKET_NAME=self._bucket.bucket_name,
            ENDPOINT_NAME=self._config.endpoint_name,
            STAGE_NAME=self._config.stage_name,
            ARTIFACT_PARAMETER=self._config.artifact_parameter,
        )
        self._let_read(prepare, [f"{prefixes.RELEASES}*"])
        self._let_make_model(prepare)
        return prepare

    def _evaluate_models(self) -> Function:
        retraining = self._config.retraining
        evaluate = self._function(
            "EvaluateModels",
            reads_all_images=True,
            BUCKET_NAME=self._bucket.bucket_name,
            CLASSES=self._classes,
            MINIMUM_ACCURACY=retraining.minimum_accuracy,
            MARGIN=retraining.margin,
            MAX_CALIBRATION_ERROR=retraining.max_calibration_error,
        )
        self._let_read(evaluate, [f"{prefixes.TEST_LST}*", f"{prefixes.RETRAINING}*/*.out"])
        self._let_write(
            evaluate,
            [
                document_key("*", "predictions"),
                document_key("*", "evaluation"),
                document_key("*", "smoke_test"),
                document_key("*", "baseline"),
            ],
        )
        return evaluate

    def _release_model(self) -> Function:
        release = self._function(
            "ReleaseModel",
            ENDPOINT_NAME=self._config.endpoint_name,
            STAGE_NAME=self._config.stage_name,
            DEPLOYMENT_CONFIG=self._deployment_config,
        )
        self._let_see_what_is_served(release)
        release.allow(["sagemaker:CreateEndpointConfig", "sagemaker:AddTags"], [self._own_config])
        release.allow(["sagemaker:UpdateEndpoint"], [self._endpoint, self._own_config])
        self._let_use_volume_key(release)
        if alarms := guardrail_alarm_arns(self._stack, self._config):
            release.allow(["cloudwatch:DescribeAlarms"], alarms)
        return release

    def _restore_endpoint(self) -> Function:
        restore = self._function(
            "RestoreEndpoint",
            ENDPOINT_NAME=self._config.endpoint_name,
            DEPLOYMENT_CONFIG=self._deployment_config,
        )
        self._let_see_what_is_served(restore)
        restore.allow(["sagemaker:UpdateEndpoint"], [self._endpoint, self._any_config])
        self._let_use_volume_key(restore)
        return restore

    def _smoke_test(self) -> Function:
        smoke_test = self._function(
            "SmokeTest",
            BUCKET_NAME=self._bucket.bucket_name,
            CLASSES=self._classes,
            ENDPOINT_NAME=self._config.endpoint_name,
            ENDPOINT_KIND=self._config.endpoint.kind,
        )
        self._let_read(smoke_test, [document_key("*", "smoke_test"), f"{prefixes.TEST}*", f"{prefixes.TEST_LST}*"])
        smoke_test.allow(["sagemaker:InvokeEndpoint"], [self._endpoint])
        return smoke_test

    def _record_release(self) -> Function:
        config = self._config
        record = self._function(
            "RecordRelease",
            BUCKET_NAME=self._bucket.bucket_name,
            CLASSES=self._classes,
            ARTIFACT_PARAMETER=config.artifact_parameter,
            ALGORITHM_PARAMETER=config.model_algorithm_parameter,
            METADATA_PARAMETER=config.model_metadata_parameter,
            BASELINE_PARAMETER=config.baseline_parameter,
        )
        self._let_read(record, [document_key("*", "manifest"), document_key("*", "evaluation")])
        record.allow(["sagemaker:DescribeTrainingJob"], [self._own_job])
        parameters = (
            config.artifact_parameter,
            config.model_algorithm_parameter,
            config.model_metadata_parameter,
            config.baseline_parameter,
        )
        record.allow(["ssm:GetParameter", "ssm:PutParameter"], [self._parameter_arn(name) for name in parameters])
        return record

    # Shared by several functions

    @property
    def _classes(self) -> str:
        return self._stack.to_json_string(list(self._config.classes))

    @property
    def _deployment_config(self) -> str:
        found = deployment_config(self._config)
        return self._stack.to_json_string(found) if found else "null"  # CDK would omit a variable without a value

    def _function(self, name: str, *, reads_all_images: bool = False, **environment: float | str) -> Function:
        return Function(
            self._stack,
            name,
            config=self._config,
            environment={variable: str(value) for variable, value in environment.items()},
            memory_mb=_ONE_CPU_MB if reads_all_images else 512,
            timeout=Duration.minutes(15 if reads_all_images else 1),
        )

    def _objects(self, keys: Iterable[str]) -> list[str]:
        return [self._bucket.arn_for_objects(key) for key in keys]

    def _let_read(self, function: Function, keys: Sequence[str]) -> None:
        function.allow(["s3:GetObject"], self._objects(keys))
        # Without it S3 returns 403, not 404, for an object that does not exist
        function.allow(["s3:ListBucket"], [self._bucket.bucket_arn])

    def _let_write(self, function: Function, keys: Sequence[str]) -> None:
        function.allow(["s3:PutObject"], self._objects(keys))

    def _let_see_what_is_served(self, function: Function) -> None:
        function.allow(
            ["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"],
            [self._endpoint, self._any_config, self._any_model],
        )

    def _let_make_model(self, function: Function) -> None:
        """A model of a training job, with the settings of the one that is served."""
        self._let_see_what_is_served(function)
        function.allow(["sagemaker:DescribeTrainingJob"], [self._own_job])
        function.allow(["sagemaker:AddTags"], [self._own_model])
        function.allow(
            ["sagemaker:CreateModel"],
            [self._own_model],
            conditions=ISOLATED if self._config.endpoint.is_isolated else None,
        )
        function.add_to_role_policy(self._pass_role)
        function.allow(["ssm:GetParameter"], [self._parameter_arn(self._config.artifact_parameter)])

    def _let_use_volume_key(self, function: Function) -> None:
        key = self._bucket.encryption_key
        if key and volume_key_of(self._config.endpoint, key.key_arn):
            function.add_to_role_policy(let_services_encrypt_volumes(key))

    def _parameter_arn(self, name: str) -> str:
        return self._stack.format_arn(service="ssm", resource="parameter", resource_name=name.removeprefix("/"))

    def _sagemaker_arn(self, kind: str, name: str) -> str:
        return self._stack.format_arn(service="sagemaker", resource=kind, resource_name=name)
