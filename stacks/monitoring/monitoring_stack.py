"""Monitoring of the environment: drift, accuracy, alarms, dashboard and budget."""

from aws_cdk import ArnFormat, CfnOutput, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from lambda_src.shared.model_documents import document_key
from stacks.config import EnvironmentConfig
from stacks.monitoring.alarms import alarm_rules, create_alarms
from stacks.monitoring.budget import monthly_budget
from stacks.monitoring.dashboard import create_dashboard
from stacks.monitoring.metrics import Metrics, Monitored
from stacks.shared import prefixes
from stacks.shared.function import Function


class MonitoringStack(Stack):
    """Watches the other stacks and notifies the alert topic."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: EnvironmentConfig,
        bucket: s3.IBucket,
        alert_topic: sns.ITopic,
        monitored: Monitored,
    ) -> None:
        super().__init__(scope, construct_id, description=f"Scones Unlimited {config.name}: monitoring")
        self._prediction_log = monitored.prediction_log
        self._prediction_log_arn = self.format_arn(
            service="logs",
            resource="log-group",
            resource_name=monitored.prediction_log,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        drift_monitor = self._drift_monitor(config, bucket)
        model_accuracy = self._model_accuracy(config, bucket)
        metrics = Metrics(
            self,
            config=config,
            monitored=monitored,
            functions=[*monitored.functions, drift_monitor, model_accuracy],
            drift_monitor=drift_monitor,
        )
        alarms = create_alarms(self, rules=alarm_rules(metrics, config=config), config=config, alert_topic=alert_topic)
        create_dashboard(self, config=config, metrics=metrics, alarms=alarms)
        if limit := config.monitoring.monthly_budget_usd:
            monthly_budget(self, config=config, limit_usd=limit, alert_topic=alert_topic)
        CfnOutput(self, "DriftMonitorName", value=drift_monitor.function_name)
        CfnOutput(self, "ModelAccuracyName", value=model_accuracy.function_name)

    def _drift_monitor(self, config: EnvironmentConfig, bucket: s3.IBucket) -> Function:
        """Runs every hour, over the last window of captures."""
        function = self._reader_of_captures(
            "DriftMonitor",
            config,
            bucket,
            environment={
                "CONFIDENCE_THRESHOLD": str(config.confidence_threshold),
                "DRIFT_WINDOW_HOURS": str(config.monitoring.drift_window_hours),
                "DRIFT_BOUND": str(config.monitoring.drift_bound),
                "BASELINE_PARAMETER": config.baseline_parameter,
            },
            every=Duration.hours(1),
        )
        function.allow(["s3:GetObject"], [bucket.arn_for_objects(document_key("*", "baseline"))])
        function.allow(["s3:PutObject"], [bucket.arn_for_objects(f"{prefixes.MONITORING}drift/*")])
        function.allow(
            ["ssm:GetParameter"],
            [
                self.format_arn(
                    service="ssm", resource="parameter", resource_name=config.baseline_parameter.removeprefix("/")
                )
            ],
        )
        return function

    def _model_accuracy(self, config: EnvironmentConfig, bucket: s3.IBucket) -> Function:
        """Runs once per window, over captures from LABEL_DELAY_HOURS ago, whose labels should have arrived."""
        hours = config.monitoring.drift_window_hours
        function = self._reader_of_captures(
            "ModelAccuracy",
            config,
            bucket,
            environment={
                "ACCURACY_WINDOW_HOURS": str(hours),
                "LABEL_DELAY_HOURS": str(config.monitoring.label_delay_hours),
            },
            every=Duration.hours(hours),
        )
        _allow_reading(function, bucket, prefixes.GROUND_TRUTH)
        function.allow(["s3:PutObject"], [bucket.arn_for_objects(f"{prefixes.MONITORING}accuracy/*")])
        return function

    def _reader_of_captures(
        self, name: str, config: EnvironmentConfig, bucket: s3.IBucket, *, environment: dict[str, str], every: Duration
    ) -> Function:
        """A scheduled function that reads the endpoint's recorded predictions."""
        captures = f"{prefixes.DATA_CAPTURE}{config.endpoint_name}/"
        function = Function(
            self,
            name,
            config=config,
            environment={
                "BUCKET_NAME": bucket.bucket_name,
                "RECORD_LOCATION": f"data-capture:{captures}"
                if config.endpoint.captures
                else f"log-group:{self._prediction_log}",
                "CLASSES": self.to_json_string(list(config.classes)),
                **environment,
            },
            # One whole virtual CPU: benchmarks/drift.py shows the time for a million requests
            memory_mb=1769,
            timeout=Duration.minutes(15),
        )
        if config.endpoint.captures:
            _allow_reading(function, bucket, captures)
        else:
            function.allow(["logs:FilterLogEvents"], [f"{self._prediction_log_arn}{suffix}" for suffix in ("", ":*")])
        scheduler.Schedule(
            self,
            f"{name}Schedule",
            schedule=scheduler.ScheduleExpression.rate(every),
            target=scheduler_targets.LambdaInvoke(
                function,
                input=scheduler.ScheduleTargetInput.from_object({"time": scheduler.ContextAttribute.scheduled_time}),
                retry_attempts=2,
            ),
        )
        return function


def _allow_reading(function: Function, bucket: s3.IBucket, prefix: str) -> None:
    function.add_to_role_policy(
        iam.PolicyStatement(
            actions=["s3:ListBucket"],
            resources=[bucket.bucket_arn],
            conditions={"StringLike": {"s3:prefix": f"{prefix}*"}},
        )
    )
    function.allow(["s3:GetObject"], [bucket.arn_for_objects(f"{prefix}*")])
