"""SageMaker's API as far as this project calls it: models, endpoint configs, endpoints, training and transform jobs.

Requests are checked against botocore's own service model, so what this accepts SageMaker would take as well.
"""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.exceptions import ParamValidationError
from botocore.model import OperationNotFoundError, ServiceModel

from local import strict
from local.cloud import ACCOUNT, REGION
from local.permissions import Call, needed, own_action
from local.sagemaker import storage, training, transform
from local.sagemaker.authorization import Authorize, allow_all
from local.sagemaker.deployment import AT_ONCE, Deployment
from local.sagemaker.endpoint import Endpoint, Variant
from local.sagemaker.errors import ApiError, JobFailedError, validation_error
from stacks.shared.local_storage import has_local_storage

Record = dict[str, Any]

# An endpoint config takes these only where its variants name no model: a model has its own
OF_INFERENCE_COMPONENTS = ("EnableNetworkIsolation", "ExecutionRoleArn", "VpcConfig")


class ControlPlane:
    """Holds every resource in memory; a resource is the request that made it, and what came of it."""

    def __init__(
        self, *, cache: Path, emit: Callable[[str, Record], None] = lambda *_: None, authorize: Authorize = allow_all
    ) -> None:
        """`emit` is given the type and the detail of each event for EventBridge."""
        self._emit = emit
        self._authorize = authorize
        self._service = _service_model()
        self._cache = cache
        self._lock = threading.RLock()
        self._models: dict[str, Record] = {}
        self._endpoint_configs: dict[str, Record] = {}
        self._endpoint_records: dict[str, Record] = {}
        self._training_jobs: dict[str, Record] = {}
        self._transform_jobs: dict[str, Record] = {}
        self._transform_stops: dict[str, threading.Event] = {}
        self._package_groups: dict[str, Record] = {}
        self._packages: dict[str, Record] = {}
        self.endpoints: dict[str, Endpoint] = {}
        # Instance types that no training job gets, and why: no "quota" of the account, or no "capacity" of AWS
        self.withheld: dict[str, str] = {}

    def call(self, operation: str, request: Record, *, access_key: str = "") -> Record:
        """Run one API operation, such as CreateModel, for whoever has the access key; raises ApiError."""
        handler: Callable[[Record], Record] | None = getattr(self, xform_name(operation), None)
        try:
            model = self._service.operation_model(operation)
        except OperationNotFoundError:
            model = None
        if handler is None or model is None:
            raise ApiError("UnknownOperationException", f"the local stand-in for SageMaker has no {operation}")
        try:
            strict.check(model, request)
        except ParamValidationError as error:
            raise validation_error(error.kwargs["report"]) from error
        self.check_permissions(operation, request, access_key=access_key)
        with self._lock:
            return handler(request)

    def check_permissions(self, operation: str, request: Record, *, access_key: str) -> None:
        """Raise ApiError unless IAM allows the caller, and the execution role, what the operation needs."""
        endpoint_config = self._endpoint_configs.get(request.get("EndpointConfigName", ""), {})
        served = endpoint_config.get("ProductionVariants", [{}])[0]
        model = self._models.get(request.get("ModelName") or served.get("ModelName"), {})
        roles = (request.get("RoleArn"), request.get("ExecutionRoleArn"), model.get("ExecutionRoleArn"))
        call = Call(
            operation=operation, request=request, region=REGION, account=ACCOUNT, endpoint_config=endpoint_config
        )
        refusal = self._authorize(
            [own_action(call), *needed(call)], access_key=access_key, execution_role=next(filter(None, roles), "")
        )
        if refusal:
            raise ApiError("AccessDeniedException", refusal)

    def shut_down(self) -> None:
        """Write what the endpoints have captured."""
        for endpoint in self.endpoints.values():
            endpoint.close()

    # Models and endpoint configs

    def create_model(self, request: Record) -> Record:
        arn = self._add(self._models, "model", request["ModelName"], request)
        return {"ModelArn": arn}

    def describe_model(self, request: Record) -> Record:
        return self._find(self._models, "model", request["ModelName"])

    def list_models(self, request: Record) -> Record:
        return {"Models": self._summaries(self._models, request, "ModelName", "ModelArn")}

    def delete_model(self, request: Record) -> Record:
        self._find(self._models, "model", request["ModelName"])
        del self._models[request["ModelName"]]
        return {}

    def create_endpoint_config(self, request: Record) -> Record:
        for setting in OF_INFERENCE_COMPONENTS:
            if setting in request:
                raise validation_error(f"{setting} is only supported for inference component endpoints.")
        for variant in request["ProductionVariants"]:
            if "ModelName" not in variant:
                raise validation_error(f"the local stand-in has no inference components: {variant['VariantName']}")
            model = self._find(self._models, "model", variant["ModelName"])
            if "ServerlessConfig" in variant and (
                model.get("EnableNetworkIsolation") or request.get("DataCaptureConfig", {}).get("EnableCapture")
            ):
                # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html (feature exclusions)
                raise validation_error("Serverless endpoints support neither network isolation nor data capture.")
        arn = self._add(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"], request)
        return {"EndpointConfigArn": arn}

    def describe_endpoint_config(self, request: Record) -> Record:
        record = self._find(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"])
        return {"EnableNetworkIsolation": False, **record}

    def list_endpoint_configs(self, request: Record) -> Record:
        summaries = self._summaries(self._endpoint_configs, request, "EndpointConfigName", "EndpointConfigArn")
        return {"EndpointConfigs": summaries}

    def delete_endpoint_config(self, request: Record) -> Record:
        self._find(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"])
        del self._endpoint_configs[request["EndpointConfigName"]]
        return {}

    # Endpoints

    def create_endpoint(self, request: Record) -> Record:
        name = request["EndpointName"]
        source = self._variant_source(request)
        record = {
            **request,
            "EndpointStatus": "Creating",
            "ProductionVariants": _variants(source["endpoint_config"], retained=None),
        }
        arn = self._add(self._endpoint_records, "endpoint", name, record)
        self.endpoints[name] = Endpoint(name)
        self._tell_of(name)
        # A deployment config is for updates: there is nothing yet to go back to
        self._in_background(self._move, name, source, Deployment(AT_ONCE, instances=1))
        return {"EndpointArn": arn}

    def update_endpoint(self, request: Record) -> Record:
        name = request["EndpointName"]
        record = self._find(self._endpoint_records, "endpoint", name)
        source = self._variant_source(request)
        if record["EndpointStatus"] != "InService":
            raise validation_error(f"Cannot update in-progress endpoint {record['EndpointArn']!r}.")
        _check_retained(request)
        retained = record["ProductionVariants"] if request.get("RetainAllVariantProperties") else None
        variants = _variants(source["endpoint_config"], retained=retained)
        config = request.get("DeploymentConfig")
        if config is None:
            config = record.get("LastDeploymentConfig", AT_ONCE) if request.get("RetainDeploymentConfig") else AT_ONCE
        deployment = Deployment(config, instances=variants[0]["DesiredInstanceCount"])
        record.update(
            {
                "EndpointStatus": "Updating",
                "LastModifiedTime": _now(),
                "PendingDeploymentSummary": {
                    "EndpointConfigName": request["EndpointConfigName"],
                    "ProductionVariants": variants,
                    "StartTime": _now(),
                },
            }
        )
        record.pop("FailureReason", None)
        self._tell_of(name)
        self._in_background(self._move, name, source, deployment, config)
        return {"EndpointArn": record["EndpointArn"]}

    def update_endpoint_weights_and_capacities(self, request: Record) -> Record:
        """What autoscaling calls."""
        record = self._find(self._endpoint_records, "endpoint", request["EndpointName"])
        if record["EndpointStatus"] != "InService":
            raise validation_error(f"Cannot update in-progress endpoint {record['EndpointArn']!r}.")
        for wanted in request["DesiredWeightsAndCapacities"]:
            for variant in record["ProductionVariants"]:
                if variant["VariantName"] == wanted["VariantName"] and "DesiredInstanceCount" in wanted:
                    variant["DesiredInstanceCount"] = variant["CurrentInstanceCount"] = wanted["DesiredInstanceCount"]
        return {"EndpointArn": record["EndpointArn"]}

    def describe_endpoint(self, request: Record) -> Record:
        return dict(self._find(self._endpoint_records, "endpoint", request["EndpointName"]))

    def delete_endpoint(self, request: Record) -> Record:
        self._find(self._endpoint_records, "endpoint", request["EndpointName"])
        del self._endpoint_records[request["EndpointName"]]
        self.endpoints.pop(request["EndpointName"]).close()
        return {}

    def _variant_source(self, request: Record) -> dict[str, Record]:
        config = self._find(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"])
        model = self._find(self._models, "model", config["ProductionVariants"][0]["ModelName"])
        return {"model": model, "endpoint_config": config}

    def _move(self, name: str, source: dict[str, Record], deployment: Deployment, config: Record | None = None) -> None:
        """Load the variant and move to it; what was served before goes on if it cannot be loaded, or is no good."""
        record = self._endpoint_records[name]
        is_update = record["EndpointStatus"] == "Updating"
        try:
            variant = Variant(endpoint_name=name, **source)
            deployment.run(self.endpoints[name], variant)
        except JobFailedError as error:
            outcome: Record = {"EndpointStatus": "InService" if is_update else "Failed", "FailureReason": str(error)}
        else:
            outcome = {
                "EndpointStatus": "InService",
                "EndpointConfigName": source["endpoint_config"]["EndpointConfigName"],
            }
            if is_update:
                outcome["ProductionVariants"] = record["PendingDeploymentSummary"]["ProductionVariants"]
                outcome["LastDeploymentConfig"] = config
        with self._lock:
            record.pop("PendingDeploymentSummary", None)
            record.update({**outcome, "LastModifiedTime": _now()})
        self._tell_of(name)

    def _tell_of(self, name: str) -> None:
        """SageMaker's event of every change of an endpoint."""
        record = self._endpoint_records[name]
        status = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", record["EndpointStatus"]).upper()
        detail = {
            "EndpointName": name,
            "EndpointArn": record["EndpointArn"],
            "EndpointConfigName": record["EndpointConfigName"],
            "EndpointStatus": status,
            "CreationTime": round(record["CreationTime"] * 1000),
            "LastModifiedTime": round(record["LastModifiedTime"] * 1000),
        }
        self._emit("SageMaker Endpoint State Change", detail)

    # The model registry

    def create_model_package_group(self, request: Record) -> Record:
        name = request["ModelPackageGroupName"]
        return {"ModelPackageGroupArn": self._add(self._package_groups, "model-package-group", name, request)}

    def delete_model_package_group(self, request: Record) -> Record:
        name = request["ModelPackageGroupName"]
        self._find(self._package_groups, "model-package-group", name)
        if any(package["ModelPackageGroupName"] == name for package in self._packages.values()):
            raise ApiError("ConflictException", f"Model package group {name} still contains model packages.")
        del self._package_groups[name]
        return {}

    def create_model_package(self, request: Record) -> Record:
        group = request["ModelPackageGroupName"]
        self._find(self._package_groups, "model-package-group", group)
        token = request.get("ClientToken")
        for arn, package in self._packages.items():
            if token and package.get("ClientToken") == token:
                return {"ModelPackageArn": arn}
        version = 1 + sum(package["ModelPackageGroupName"] == group for package in self._packages.values())
        arn = self._arn("model-package", f"{group}/{version}")
        self._packages[arn] = {
            "ModelApprovalStatus": "PendingManualApproval",
            **request,
            "ModelPackageName": f"{group}/{version}",
            "ModelPackageVersion": version,
            "ModelPackageArn": arn,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "CreationTime": _now(),
        }
        return {"ModelPackageArn": arn}

    def describe_model_package(self, request: Record) -> Record:
        return dict(self._package(request["ModelPackageName"]))

    def update_model_package(self, request: Record) -> Record:
        self._package(request["ModelPackageArn"]).update(request)
        return {"ModelPackageArn": request["ModelPackageArn"]}

    def delete_model_package(self, request: Record) -> Record:
        del self._packages[self._package(request["ModelPackageName"])["ModelPackageArn"]]
        return {}

    def list_model_packages(self, request: Record) -> Record:
        group = request.get("ModelPackageGroupName")
        if group is not None:
            self._find(self._package_groups, "model-package-group", group)
        fields = ("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "CreationTime")
        return {
            "ModelPackageSummaryList": [
                {key: package[key] for key in (*fields, "ModelPackageStatus", "ModelApprovalStatus")}
                for package in self._packages.values()
                if package["ModelPackageGroupName"] == group
                and package["ModelApprovalStatus"] == request.get("ModelApprovalStatus", package["ModelApprovalStatus"])
            ]
        }

    def _package(self, arn: str) -> Record:
        if arn not in self._packages:
            raise validation_error(f"ModelPackage {arn} does not exist.")
        return self._packages[arn]

    # Training jobs

    def create_training_job(self, request: Record) -> Record:
        name = request["TrainingJobName"]
        self._refuse_known_job(self._training_jobs, "training", name)
        self._check_instances(request)
        arn = self._add(
            self._training_jobs,
            "training-job",
            name,
            {**request, "TrainingJobStatus": "InProgress", "SecondaryStatus": "Starting"},
        )
        self._in_background(self._train, name)
        return {"TrainingJobArn": arn}

    def _check_instances(self, request: Record) -> None:
        resources = request["ResourceConfig"]
        instance_type = resources["InstanceType"]
        if "VolumeKmsKeyId" in resources and has_local_storage(instance_type):
            raise validation_error(f"VolumeKmsKeyId is not supported for {instance_type}, which has local storage.")
        if self.withheld.get(instance_type) == "quota":
            kind = "spot training job" if request.get("EnableManagedSpotTraining") else "training job"
            raise ApiError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{instance_type} for {kind} usage' is 0 Instances, with current "
                "utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to "
                "request an increase for this quota.",
            )

    def describe_training_job(self, request: Record) -> Record:
        return dict(self._find(self._training_jobs, "training-job", request["TrainingJobName"]))

    def list_training_jobs(self, request: Record) -> Record:
        fields = ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus")
        return {"TrainingJobSummaries": self._summaries(self._training_jobs, request, *fields)}

    def _train(self, name: str) -> None:
        job = self._training_jobs[name]
        job.update({"SecondaryStatus": "Training", "TrainingStartTime": _now()})
        try:
            if self.withheld.get(job["ResourceConfig"]["InstanceType"]) == "capacity":
                raise JobFailedError(
                    "CapacityError: Unable to provision requested ML compute capacity. "
                    "Please retry using a different ML instance type."
                )
            result = training.run(job, storage.as_role(job["RoleArn"]), cache=self._cache)
        except JobFailedError as error:
            outcome: Record = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": str(error)}
        else:
            outcome = {
                "TrainingJobStatus": "Completed",
                "SecondaryStatus": "Completed",
                "ModelArtifacts": {"S3ModelArtifacts": result.artifact_uri},
                "FinalMetricDataList": [
                    {"MetricName": metric, "Value": value, "Timestamp": _now()}
                    for metric, value in result.metrics.items()
                ],
            }
        ended = _now()
        seconds = max(1, round(ended - job["TrainingStartTime"]))
        job.update(
            {
                **outcome,
                "TrainingEndTime": ended,
                "LastModifiedTime": ended,
                "TrainingTimeInSeconds": seconds,
                "BillableTimeInSeconds": seconds,
            }
        )

    # Transform jobs

    def create_transform_job(self, request: Record) -> Record:
        name = request["TransformJobName"]
        self._refuse_known_job(self._transform_jobs, "transform", name)
        model = self._find(self._models, "model", request["ModelName"])
        arn = self._add(self._transform_jobs, "transform-job", name, {**request, "TransformJobStatus": "InProgress"})
        self._transform_stops[name] = threading.Event()
        self._in_background(self._transform, name, model)
        return {"TransformJobArn": arn}

    def describe_transform_job(self, request: Record) -> Record:
        return dict(self._find(self._transform_jobs, "transform-job", request["TransformJobName"]))

    def list_transform_jobs(self, request: Record) -> Record:
        fields = ("TransformJobName", "TransformJobArn", "TransformJobStatus")
        return {"TransformJobSummaries": self._summaries(self._transform_jobs, request, *fields)}

    def stop_transform_job(self, request: Record) -> Record:
        job = self._find(self._transform_jobs, "transform-job", request["TransformJobName"])
        if job["TransformJobStatus"] != "InProgress":
            raise validation_error(f"The request was rejected because the transform job is {job['TransformJobStatus']}")
        job["TransformJobStatus"] = "Stopping"
        self._transform_stops[request["TransformJobName"]].set()
        return {}

    def _transform(self, name: str, model: Record) -> None:
        job, stopped = self._transform_jobs[name], self._transform_stops[name]
        job["TransformStartTime"] = _now()
        try:
            transform.run(job, model, storage.as_role(model["ExecutionRoleArn"]), stopped=stopped)
        except JobFailedError as error:
            outcome: Record = {"TransformJobStatus": "Failed", "FailureReason": str(error)}
        else:
            outcome = {"TransformJobStatus": "Stopped" if stopped.is_set() else "Completed"}
        job.update({**outcome, "TransformEndTime": _now(), "LastModifiedTime": _now()})

    # What all resources share

    def list_tags(self, request: Record) -> Record:
        every = (
            self._models,
            self._endpoint_configs,
            self._endpoint_records,
            self._training_jobs,
            self._transform_jobs,
        )
        for records in every:
            for record in records.values():
                if request["ResourceArn"] in record.values():
                    return {"Tags": record.get("Tags", [])}
        raise validation_error(f"Could not find {request['ResourceArn']!r}.")

    @staticmethod
    def _summaries(records: dict[str, Record], request: Record, *fields: str) -> list[Record]:
        """A list operation's summaries of the records whose name, the first field, contains what is asked for."""
        return [
            {field: record[field] for field in (*fields, "CreationTime")}
            for name, record in records.items()
            if request.get("NameContains", "") in name and record["CreationTime"] >= request.get("CreationTimeAfter", 0)
        ]

    def _add(self, records: dict[str, Record], kind: str, name: str, record: Record) -> str:
        arn = self._arn(kind, name)
        if name in records:
            raise validation_error(f'Cannot create already existing {kind} "{arn}".')
        records[name] = {
            **record,
            f"{kind.title().replace('-', '')}Arn": arn,
            "CreationTime": _now(),
            "LastModifiedTime": _now(),
        }
        return arn

    def _refuse_known_job(self, jobs: dict[str, Record], kind: str, name: str) -> None:
        """A job keeps its name for as long as the account exists, however it ended; no other resource does."""
        if name in jobs:
            raise ApiError(
                "ResourceInUse",
                f"{kind.capitalize()} job names must be unique within an AWS account and region, and a {kind} job with "
                f"this name already exists ({self._arn(f'{kind}-job', name)})",
            )

    def _find(self, records: dict[str, Record], kind: str, name: str) -> Record:
        if name not in records:
            raise validation_error(f'Could not find {kind} "{self._arn(kind, name)}".')
        return records[name]

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"

    @staticmethod
    def _in_background(function: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=function, args=arguments, daemon=True).start()


@cache
def _service_model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("sagemaker")


def _now() -> float:
    """Seconds since the epoch, as the JSON protocol carries times."""
    return datetime.now(UTC).timestamp()


def _check_retained(request: Record) -> None:
    """Raise ApiError for what the documentation of UpdateEndpoint and VariantProperty rules out."""
    excluded = {entry["VariantPropertyType"] for entry in request.get("ExcludeRetainedVariantProperties", [])}
    if excluded and not request.get("RetainAllVariantProperties"):
        raise validation_error("ExcludeRetainedVariantProperties is for updates with RetainAllVariantProperties only.")
    if "DataCaptureConfig" in excluded:
        raise validation_error("VariantPropertyType DataCaptureConfig is not currently supported.")


def _variants(endpoint_config: Record, *, retained: list[Record] | None) -> list[Record]:
    """The variants as DescribeEndpoint shows them; `retained` are those whose instance counts are kept."""
    counts = {variant["VariantName"]: variant["DesiredInstanceCount"] for variant in retained or []}
    return [
        {
            "VariantName": variant["VariantName"],
            "CurrentWeight": variant.get("InitialVariantWeight", 1.0),
            "DesiredWeight": variant.get("InitialVariantWeight", 1.0),
            "CurrentInstanceCount": counts.get(variant["VariantName"], variant.get("InitialInstanceCount", 1)),
            "DesiredInstanceCount": counts.get(variant["VariantName"], variant.get("InitialInstanceCount", 1)),
        }
        for variant in endpoint_config["ProductionVariants"]
    ]
