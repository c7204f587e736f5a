"""Batch Transform jobs."""

import threading
from collections.abc import Callable
from pathlib import Path

from local.sagemaker import storage, transform
from local.sagemaker.api.models import Models
from local.sagemaker.api.resources import Record, now
from local.sagemaker.errors import JobFailedError, validation_error


class TransformJobs(Models):
    """CreateTransformJob and related operations."""

    def __init__(self, *, cache: Path, emit: Callable[[str, Record], None] = lambda *_: None) -> None:
        super().__init__(cache=cache, emit=emit)
        self._transform_jobs: dict[str, Record] = {}
        self._transform_stops: dict[str, threading.Event] = {}

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
        job["TransformStartTime"] = now()
        try:
            transform.run(job, model, storage.as_role(model["ExecutionRoleArn"]), stopped=stopped)
        except JobFailedError as error:
            outcome: Record = {"TransformJobStatus": "Failed", "FailureReason": str(error)}
        else:
            outcome = {"TransformJobStatus": "Stopped" if stopped.is_set() else "Completed"}
        job.update({**outcome, "TransformEndTime": now(), "LastModifiedTime": now()})
