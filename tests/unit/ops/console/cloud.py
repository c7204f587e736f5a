"""Simulates AWS for the console's pages: an environment in memory, behind boto3's own clients."""

import io
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from data_prep import aws
from tests.unit.stand_in import client_for

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
BUCKET = "scones-dev-data-bucket"
STATE_MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:scones-dev-classification"
DISTRIBUTED_MAP = STATE_MACHINE.replace("classification", "DistributedMap")
BATCH_TRANSFORM = STATE_MACHINE.replace("classification", "BatchTransform")
RETRAINING = "arn:aws:states:us-east-1:123456789012:stateMachine:scones-dev-retraining"
PACKAGES = "arn:aws:sagemaker:us-east-1:123456789012:model-package/scones-dev"
ARTIFACT = f"s3://{BUCKET}/models/scones-dev-1/output/model.tar.gz"

Request = dict[str, Any]
Answer = dict[str, Any]

DEFINITION = {
    "StartAt": "ReadInput",
    "States": {
        "ReadInput": {"Type": "Pass", "Next": "ClassifyImages"},
        "ClassifyImages": {
            "Type": "Map",
            "ItemProcessor": {
                "StartAt": "Classifier",
                "States": {
                    "Classifier": {"Type": "Task", "Catch": [{"Next": "Failed"}], "Next": "FilterConfidence"},
                    "FilterConfidence": {"Type": "Task", "Catch": [{"Next": "Rejected"}], "End": True},
                    "Rejected": {"Type": "Pass", "End": True},
                    "Failed": {"Type": "Pass", "End": True},
                },
            },
            "Next": "AllAccepted?",
        },
        "AllAccepted?": {"Type": "Choice", "Choices": [{"Next": "Accepted"}], "Default": "InferencesRejected"},
        "Accepted": {"Type": "Succeed"},
        "InferencesRejected": {"Type": "Fail"},
    },
}


class Cloud:
    """`objects` of the bucket, `executions` with their manifests, and what may be asked for."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.executions: list[Answer] = []
        self.events: list[Answer] = []
        self.requests: list[tuple[str, Request]] = []
        self.alarms = {"drift": "OK", "rejected-share": "ALARM"}
        self.metadata: Answer = {"job": "scones-dev-1", "accuracy": 0.91}
        self.runs: list[Answer] = []  # of the retraining workflow
        self.packages: list[Answer] = []
        self.endpoint_exists = True
        self._refused: dict[str, str] = {}
        self.release(NOW - timedelta(days=3), ARTIFACT)
        self.objects[f"monitoring/drift/{NOW:%Y/%m/%d}/000000.json"] = json.dumps(
            {"end": NOW.isoformat(), "verdict": "no drift", "score": 0.1234, "bound": 0.25, "requests": 321}
        ).encode()

    def refuse(self, operation: str, message: str = "Access Denied") -> None:
        """Deny an operation, such as `s3:GetObject`. S3 used to say no more than this."""
        self._refused[operation] = message

    def release(self, time: datetime, artifact_uri: str, status: str = "IN_SERVICE") -> None:
        record = {"time": time.isoformat(), "status": status, "endpoint_config": "c", "model": "m"}
        key = f"releases/{time.isoformat()}-{status}.json"
        self.objects[key] = json.dumps({**record, "artifact_uri": artifact_uri}).encode()

    def evaluate(self, job: str, predictions: dict[str, tuple[int, float]], *, calibration_error: float) -> None:
        """A model's documents. predictions: for each validation image its label and the probability of class 0."""
        images = [
            {"key": key, "label": label, "probabilities": [first, 1 - first]}
            for key, (label, first) in predictions.items()
        ]
        self.objects[f"models/{job}/predictions.json"] = json.dumps({"images": images}).encode()
        self.objects[f"models/{job}/evaluation.json"] = json.dumps({"calibration_error": calibration_error}).encode()

    def register(self, job: str, status: str = "PendingManualApproval", **values: Any) -> str:
        """A model package of a training job's model; returns its ARN."""
        arn = f"{PACKAGES}/{len(self.packages) + 1}"
        self.packages.append(
            {
                "ModelPackageArn": arn,
                "ModelPackageGroupName": "scones-dev",
                "ModelApprovalStatus": status,
                "CreationTime": NOW - timedelta(hours=1),
                "CustomerMetadataProperties": {"training-job": job},
            }
            | values
        )
        return arn

    def execute(
        self,
        name: str,
        *outcomes: Any,
        status: str = "SUCCEEDED",
        ago: timedelta = timedelta(minutes=5),
        workflow: str = STATE_MACHINE,
    ) -> None:
        """An execution that ended, or runs. Outcomes: of its manifest, which there is none of without them."""
        arn = f"{workflow.replace(':stateMachine:', ':execution:')}:{name}"
        found: Answer = {"executionArn": arn, "stateMachineArn": workflow, "name": name, "status": status}
        found |= {"startDate": NOW - ago - timedelta(seconds=2)}
        if status != "RUNNING":
            found |= {"stopDate": NOW - ago}
        self.executions.append(found)
        if outcomes:
            counts = Counter(outcome["outcome"] for outcome in outcomes if isinstance(outcome, dict))
            manifest = {"started_at": found["startDate"].isoformat(), "counts": counts, "outcomes": outcomes}
            self.objects[f"manifests/{name}.json"] = json.dumps(manifest).encode()

    def execute_bulk(self, name: str, counts: dict[str, int], *examples: Any, **options: Any) -> None:
        """A bulk run that ended; lambda_src/bulk/bulk_summary.py. Examples: of images that it did not accept."""
        self.execute(name, workflow=DISTRIBUTED_MAP, **options)
        manifest = {"counts": counts, "examples": examples, "outcomes": {"SUCCEEDED": ["s3://files"]}}
        self.objects[f"manifests/{name}.json"] = json.dumps(manifest).encode()

    def client(self, service: Any) -> Any:
        """A client of boto3 whose requests are checked as always, and answered here."""
        client = client_for(service, answered_by="cloud")
        handlers: dict[str, Any] = {"before-parameter-build": self._note_request, "before-call": self._answer}
        for event, handler in handlers.items():
            client.meta.events.unregister(event, unique_id=event)
            client.meta.events.register(event, handler, unique_id=event)
        return client

    @staticmethod
    def _note_request(params: Request, context: Any, **_: Any) -> None:
        context["request"] = params

    def _answer(self, model: Any, context: Any, **_: Any) -> tuple[Any, Answer]:
        operation, request = f"{model.service_model.service_name}:{model.name}", context["request"]
        self.requests.append((operation, request))
        if message := self._refused.get(operation):
            return _error("AccessDenied", message, 403)
        answer: Callable[[Request], Any] = getattr(self, f"_{model.name}")
        found = answer(request)
        return found if isinstance(found, tuple) else (SimpleNamespace(status_code=200), found)

    def _ListObjectsV2(self, request: Request) -> Answer:  # noqa: N802 - AWS's names from here on
        assert request["Bucket"] == BUCKET
        keys = sorted(key for key in self.objects if key.startswith(request["Prefix"]))
        contents = [{"Key": key, "LastModified": NOW} for key in keys]
        return {"Contents": contents, "IsTruncated": False}

    def _GetObject(self, request: Request) -> Any:  # noqa: N802
        assert request["Bucket"] == BUCKET
        if request["Key"] not in self.objects:
            return _error("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": io.BytesIO(self.objects[request["Key"]])}

    def _PutObject(self, request: Request) -> Any:  # noqa: N802
        assert request["Bucket"] == BUCKET
        assert request["IfNoneMatch"] == "*"
        body = request["Body"]  # of bytes, botocore makes a file
        self.objects[request["Key"]] = body.read() if hasattr(body, "read") else body
        return {"ETag": '"etag"', "VersionId": f"version-of-{request['Key']}"}

    def _ListExecutions(self, request: Request) -> Answer:  # noqa: N802
        if request["stateMachineArn"] == RETRAINING:
            assert request["statusFilter"] == "RUNNING"
            return {"executions": self.runs}
        machine = request["stateMachineArn"]
        assert machine in {STATE_MACHINE, DISTRIBUTED_MAP, BATCH_TRANSFORM}
        own = [found for found in self.executions if found["stateMachineArn"] == machine]
        newest = sorted(own, key=_position, reverse=True)
        more = {"nextToken": "more"} if len(newest) > request["maxResults"] else {}
        return {"executions": newest[: request["maxResults"]], **more}

    def _DescribeExecution(self, request: Request) -> Any:  # noqa: N802
        found = [each for each in self.executions if each["executionArn"] == request["executionArn"]]
        return found[0] if found else _error("ExecutionDoesNotExist", "Execution Does Not Exist", 400)

    def _GetExecutionHistory(self, request: Request) -> Answer:  # noqa: N802
        assert request["includeExecutionData"] is False
        return {"events": self.events}

    def _DescribeStateMachineForExecution(self, _request: Request) -> Answer:  # noqa: N802
        return {"definition": json.dumps(DEFINITION)}

    def _DescribeEndpoint(self, request: Request) -> Any:  # noqa: N802
        assert request["EndpointName"] == "scones-dev"
        if not self.endpoint_exists:
            return _error("ValidationException", 'Could not find endpoint "scones-dev".', 400)
        variants = [{"CurrentInstanceCount": 2}]
        return {"EndpointStatus": "InService", "LastModifiedTime": NOW, "ProductionVariants": variants}

    def _GetParameter(self, request: Request) -> Answer:  # noqa: N802
        assert request["Name"] == "/scones/dev/model/metadata"
        return {"Parameter": {"Value": json.dumps(self.metadata)}}

    def _StartExecution(self, request: Request) -> Answer:  # noqa: N802
        assert request["stateMachineArn"] == RETRAINING
        return {"executionArn": f"{RETRAINING.replace(':stateMachine:', ':execution:')}:new-run", "startDate": NOW}

    def _DescribeTrainingJob(self, request: Request) -> Answer:  # noqa: N802
        name = request["TrainingJobName"]
        return {
            "TrainingJobName": name,
            "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}",
            "AlgorithmSpecification": {"TrainingImage": "1.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"},
            "FinalMetricDataList": [{"MetricName": "validation:accuracy", "Value": 0.875}],
        }

    def _ListTags(self, _request: Request) -> Answer:  # noqa: N802
        return {"Tags": [{"Key": "data-digest", "Value": "0123456789abcdef"}]}

    def _ListModelPackages(self, request: Request) -> Answer:  # noqa: N802
        assert (request["ModelPackageGroupName"], request["SortOrder"]) == ("scones-dev", "Descending")
        found = [each for each in self.packages if each["ModelApprovalStatus"] == request["ModelApprovalStatus"]]
        return {"ModelPackageSummaryList": found[::-1]}

    def _package(self, arn: str) -> Answer:
        (found,) = [each for each in self.packages if each["ModelPackageArn"] == arn]
        return found

    def _DescribeModelPackage(self, request: Request) -> Answer:  # noqa: N802
        return self._package(request["ModelPackageName"])

    def _UpdateModelPackage(self, request: Request) -> Answer:  # noqa: N802
        self._package(request["ModelPackageArn"]).update(request)
        return {"ModelPackageArn": request["ModelPackageArn"]}

    def _GetCallerIdentity(self, _request: Request) -> Answer:  # noqa: N802
        return {"Arn": "arn:aws:sts::123456789012:assumed-role/Reviewer/ada"}

    def _DescribeAlarms(self, request: Request) -> Answer:  # noqa: N802
        states = {f"scones-dev-{name}": state for name, state in self.alarms.items()}
        return {
            "MetricAlarms": [
                {
                    "AlarmName": name,
                    "StateValue": states[name],
                    "StateUpdatedTimestamp": NOW,
                    "AlarmDescription": "What it means. What to do: docs/runbook.md#x",
                }
                for name in request["AlarmNames"]
                if name in states
            ]
        }


def _position(found: Answer) -> datetime:
    position: datetime = found["stopDate" if "stopDate" in found else "startDate"]
    return position


def _error(code: str, message: str, status: int) -> tuple[Any, Answer]:
    return SimpleNamespace(status_code=status), {"Error": {"Code": code, "Message": message}}


class Clock(datetime):
    """Stands still, however long the tests take."""

    @classmethod
    def now(cls, tz: Any = None) -> "Clock":  # noqa: ARG003 - as datetime has it
        return cls.fromisoformat(NOW.isoformat())


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Stands for AWS in all that the console reads."""
    made = Cloud()
    for module in ("activity", "health"):
        monkeypatch.setattr(f"ops.console.{module}.datetime", Clock)
    for name, service in {
        "s3": "s3",
        "stepfunctions": "stepfunctions",
        "sagemaker": "sagemaker",
        "ssm": "ssm",
        "sts": "sts",
        "cloudwatch": "cloudwatch",
    }.items():
        client = made.client(service)
        monkeypatch.setattr(aws, name, lambda client=client: client)
        monkeypatch.setattr(f"ops.aws.{name}", lambda client=client: client)
    return made


def accepted(key: str = "incoming/bike.png") -> Answer:
    return {"outcome": "ACCEPTED", **_image(key), "label": "bicycle", "confidence": 0.97}


def rejected(key: str = "incoming/dim.png") -> Answer:
    why = {"error": "LowConfidenceError", "cause": f"0.61 is under 0.93: s3://{BUCKET}/{key}"}
    return {**accepted(key), "outcome": "REJECTED", "confidence": 0.61, **why}


def failed(key: str = "incoming/torn.png", cause: str = "truncated PNG") -> Answer:
    return {"outcome": "FAILED", **_image(key), "error": "CorruptImageError", "cause": cause}


def _image(key: str) -> Answer:
    return {"s3_bucket": BUCKET, "s3_key": key, "s3_version_id": "v"}
