"""Training jobs."""

from collections.abc import Callable
from pathlib import Path

from local.sagemaker import storage, training
from local.sagemaker.api.resources import Record, Resources, now
from local.sagemaker.errors import ApiError, JobFailedError, validation_error
from stacks.shared.local_storage import has_local_storage


class TrainingJobs(Resources):
    """CreateTrainingJob and related operations."""

    def __init__(self, *, cache: Path, emit: Callable[[str, Record], None] = lambda *_: None) -> None:
        super().__init__(cache=cache, emit=emit)
        self._training_jobs: dict[str, Record] = {}
        # Instance types that training jobs cannot get, and why: no "quota" in the account, or no "capacity" at AWS
        self.withheld: dict[str, str] = {}

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
        job.update({"SecondaryStatus": "Training", "TrainingStartTime": now()})
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
                    {"MetricName": metric, "Value": value, "Timestamp": now()}
                    for metric, value in result.metrics.items()
                ],
            }
        ended = now()
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
