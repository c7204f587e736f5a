"""SageMaker's API as far as this project calls it: models, endpoint configs, endpoints, training and transform jobs.

Requests are checked against botocore's own service model, so what this accepts SageMaker would parse as well.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationNotFoundError
from botocore.validate import ParamValidator

from local.cloud import ACCOUNT, REGION
from local.sagemaker import storage, training, transform
from local.sagemaker.endpoint import Endpoint, Variant
from local.sagemaker.errors import ApiError, JobFailedError, validation_error

Record = dict[str, Any]


class ControlPlane:
    """Holds every resource in memory; a resource is the request that made it, and what came of it."""

    def __init__(self, *, cache: Path) -> None:
        self._service = botocore.session.get_session().get_service_model("sagemaker")
        self._cache = cache
        self._lock = threading.RLock()
        self._models: dict[str, Record] = {}
        self._endpoint_configs: dict[str, Record] = {}
        self._endpoint_records: dict[str, Record] = {}
        self._training_jobs: dict[str, Record] = {}
        self._transform_jobs: dict[str, Record] = {}
        self._transform_stops: dict[str, threading.Event] = {}
        self.endpoints: dict[str, Endpoint] = {}

    def call(self, operation: str, request: Record) -> Record:
        """Run one API operation, such as CreateModel; raises ApiError."""
        handler: Callable[[Record], Record] | None = getattr(self, xform_name(operation), None)
        try:
            shape = self._service.operation_model(operation).input_shape
        except OperationNotFoundError:
            shape = None
        if handler is None or shape is None:
            raise ApiError("UnknownOperationException", f"the local stand-in for SageMaker has no {operation}")
        report = ParamValidator().validate(request, shape)
        if report.has_errors():
            raise validation_error(report.generate_report())
        with self._lock:
            return handler(request)

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

    def delete_model(self, request: Record) -> Record:
        self._find(self._models, "model", request["ModelName"])
        del self._models[request["ModelName"]]
        return {}

    def create_endpoint_config(self, request: Record) -> Record:
        for variant in request["ProductionVariants"]:
            self._find(self._models, "model", variant["ModelName"])
        arn = self._add(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"], request)
        return {"EndpointConfigArn": arn}

    def describe_endpoint_config(self, request: Record) -> Record:
        return self._find(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"])

    def delete_endpoint_config(self, request: Record) -> Record:
        self._find(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"])
        del self._endpoint_configs[request["EndpointConfigName"]]
        return {}

    # Endpoints

    def create_endpoint(self, request: Record) -> Record:
        name = request["EndpointName"]
        variant = self._variant_source(request)
        arn = self._add(self._endpoint_records, "endpoint", name, {**request, "EndpointStatus": "Creating"})
        self.endpoints[name] = Endpoint(name)
        self._in_background(self._bring_into_service, name, request["EndpointConfigName"], variant)
        return {"EndpointArn": arn}

    def update_endpoint(self, request: Record) -> Record:
        record = self._find(self._endpoint_records, "endpoint", request["EndpointName"])
        variant = self._variant_source(request)
        if record["EndpointStatus"] not in {"InService", "Failed"}:
            raise validation_error(f"Cannot update in-progress endpoint {record['EndpointArn']!r}.")
        record.update({"EndpointStatus": "Updating", "LastModifiedTime": _now()})
        self._in_background(self._bring_into_service, request["EndpointName"], request["EndpointConfigName"], variant)
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

    def _bring_into_service(self, name: str, config_name: str, source: dict[str, Record]) -> None:
        """Load the variant, then switch; what was served before goes on if it cannot be loaded."""
        record = self._endpoint_records[name]
        updating = record["EndpointStatus"] == "Updating"
        try:
            variant = Variant(endpoint_name=name, **source)
        except JobFailedError as error:
            outcome = {"EndpointStatus": "InService" if updating else "Failed", "FailureReason": str(error)}
        else:
            self.endpoints[name].serve(variant)
            record.pop("FailureReason", None)
            outcome = {"EndpointStatus": "InService", "EndpointConfigName": config_name}
        record.update({**outcome, "LastModifiedTime": _now()})

    # Training jobs

    def create_training_job(self, request: Record) -> Record:
        name = request["TrainingJobName"]
        if name in self._training_jobs:
            raise ApiError("ResourceInUse", f"Training job names must be unique within an account and region: {name}")
        arn = self._add(
            self._training_jobs,
            "training-job",
            name,
            {**request, "TrainingJobStatus": "InProgress", "SecondaryStatus": "Starting"},
        )
        self._in_background(self._train, name)
        return {"TrainingJobArn": arn}

    def describe_training_job(self, request: Record) -> Record:
        return dict(self._find(self._training_jobs, "training-job", request["TrainingJobName"]))

    def list_training_jobs(self, request: Record) -> Record:
        fields = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingJobStatus")
        return {
            "TrainingJobSummaries": [
                {field: job[field] for field in fields}
                for job in self._training_jobs.values()
                if request.get("NameContains", "") in job["TrainingJobName"]
            ]
        }

    def _train(self, name: str) -> None:
        job = self._training_jobs[name]
        job.update({"SecondaryStatus": "Training", "TrainingStartTime": _now()})
        try:
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
        if name in self._transform_jobs:
            raise ApiError("ResourceInUse", f"Transform job names must be unique within an account and region: {name}")
        model = self._find(self._models, "model", request["ModelName"])
        arn = self._add(self._transform_jobs, "transform-job", name, {**request, "TransformJobStatus": "InProgress"})
        self._transform_stops[name] = threading.Event()
        self._in_background(self._transform, name, model)
        return {"TransformJobArn": arn}

    def describe_transform_job(self, request: Record) -> Record:
        return dict(self._find(self._transform_jobs, "transform-job", request["TransformJobName"]))

    def list_transform_jobs(self, request: Record) -> Record:
        fields = ("TransformJobName", "TransformJobArn", "CreationTime", "TransformJobStatus")
        return {
            "TransformJobSummaries": [
                {field: job[field] for field in fields}
                for job in self._transform_jobs.values()
                if request.get("NameContains", "") in job["TransformJobName"]
            ]
        }

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

    def _find(self, records: dict[str, Record], kind: str, name: str) -> Record:
        if name not in records:
            raise validation_error(f'Could not find {kind} "{self._arn(kind, name)}".')
        return records[name]

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"

    @staticmethod
    def _in_background(function: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=function, args=arguments, daemon=True).start()


def _now() -> float:
    """Seconds since the epoch, as the JSON protocol carries times."""
    return datetime.now(UTC).timestamp()
