"""Sends test images through the deployed workflow, as one list and by an upload, and collects the results.

It uses only calls that a user of the environment could make.
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import boto3
from botocore.exceptions import ClientError

from data_prep.dataset import MANIFEST, Manifest
from data_prep.errors import DataSetError
from lambda_src.monitoring.ground_truth import label_line
from lambda_src.shared.item import ImageRef
from lambda_src.shared.model_documents import document_key
from local.cloud import LocalCloudError
from ops.capture_source import CaptureSource
from ops.window import Window
from stacks.classification.upload_event import image_key
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes

TIMEOUT_SECONDS = 120
_POLL_SECONDS = 0.2

T = TypeVar("T")


class UnexpectedError(Exception):
    """When the environment did not behave as expected."""


@dataclass(frozen=True)
class LabelledImage:
    """A test image in the bucket, with its true class."""

    key: str
    true_class: str


@dataclass(frozen=True)
class Execution:
    """One finished execution and its manifest."""

    arn: str
    status: str
    error: str | None
    seconds: float
    manifest: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.manifest["counts"])


@dataclass(frozen=True)
class Environment:
    """The deployed environment, by the outputs of its stacks."""

    config: EnvironmentConfig
    bucket: str
    state_machine_arn: str
    alert_topic_arn: str
    distributed_map_arn: str
    batch_transform_arn: str

    @classmethod
    def deployed(cls, config: EnvironmentConfig) -> "Environment":
        """Find an environment; raises LocalCloudError unless all its stacks are deployed."""
        cloudformation = boto3.client("cloudformation")
        try:
            outputs = {
                output["OutputKey"]: output["OutputValue"]
                for stack in ("Data", "Workflow", "Bulk")
                for output in cloudformation.describe_stacks(StackName=f"{config.stage_name}-{stack}")["Stacks"][0][
                    "Outputs"
                ]
            }
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            raise LocalCloudError(
                f"environment {config.name!r} is not deployed in this local cloud, or not all of it: "
                f"`make deploy LOCAL=1 ENV={config.name}` deploys it"
            ) from None
        names = ("BucketName", "StateMachineArn", "AlertTopicArn", "DistributedMapArn", "BatchTransformArn")
        return cls(config, *(outputs[name] for name in names))

    def classify(self, keys: list[str]) -> Execution:
        """Run an execution with a list of images in the bucket."""
        items = [{"image_data": "", "s3_bucket": self.bucket, "s3_key": key} for key in keys]
        return self.execute({"images": items})

    def execute(
        self, execution_input: Any, *, state_machine_arn: str = "", timeout_seconds: float = TIMEOUT_SECONDS
    ) -> Execution:
        """Run an execution with this input until it ends, by default of the inline workflow."""
        arn = boto3.client("stepfunctions").start_execution(
            stateMachineArn=state_machine_arn or self.state_machine_arn, input=json.dumps(execution_input)
        )["executionArn"]
        return self.follow(arn, timeout_seconds=timeout_seconds)

    def classify_upload(self, name: str, data: bytes) -> Execution:
        """Upload an image below incoming/ and follow the execution that this starts."""
        key = f"{prefixes.INCOMING}{name}"
        known = {execution["executionArn"] for execution in self._executions()}
        boto3.client("s3").put_object(Bucket=self.bucket, Key=key, Body=data)

        def started() -> str | None:
            for execution in self._executions():
                arn = str(execution["executionArn"])
                if arn not in known:
                    described = boto3.client("stepfunctions").describe_execution(executionArn=arn)
                    if image_key(json.loads(described["input"])) == key:
                        return arn
            return None

        return self.follow(wait_for(started, f"an execution started by the upload of {key}"))

    def follow(self, execution_arn: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Execution:
        """Wait for the end of an execution and read its manifest."""

        def ended() -> dict[str, Any] | None:
            described = boto3.client("stepfunctions").describe_execution(executionArn=execution_arn)
            return None if described["status"] == "RUNNING" else dict(described)

        described = wait_for(ended, f"the end of {execution_arn}", timeout_seconds=timeout_seconds)
        key = f"{prefixes.MANIFESTS}{described['name']}.json"
        s3 = boto3.client("s3")
        manifest = {}
        if s3.list_objects_v2(Bucket=self.bucket, Prefix=key).get("KeyCount"):
            manifest = json.loads(s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        return Execution(
            arn=execution_arn,
            status=described["status"],
            error=described.get("error"),
            seconds=(described["stopDate"] - described["startDate"]).total_seconds(),
            manifest=manifest,
        )

    def outcomes(self, execution: Execution) -> list[dict[str, Any]]:
        """The outcome of every image. The manifest of a bulk run names the files with the outcomes."""
        outcomes = execution.manifest["outcomes"]
        if isinstance(outcomes, list):
            return outcomes
        s3 = boto3.client("s3")
        return [
            json.loads(line)
            for uri in outcomes["SUCCEEDED"]
            for line in s3.get_object(Bucket=self.bucket, Key=uri.partition(self.bucket + "/")[2])["Body"].iter_lines()
        ]

    def keys(self, prefix: str) -> list[str]:
        pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def served_artifact(self) -> str:
        """The URI of the model artifact behind the endpoint."""
        sagemaker = boto3.client("sagemaker")
        endpoint = sagemaker.describe_endpoint(EndpointName=self.config.endpoint_name)
        config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0].get("ModelName", ""))
        return model["PrimaryContainer"]["ModelDataUrl"]

    def data_set(self, folders: Sequence[Path]) -> Path:
        """The folder with the data set that the model behind the endpoint was trained on and the bucket holds.

        Data that was changed in the bucket is in no folder; then only the classes must agree. Raises LocalCloudError if
        there is no such folder, because the model's predictions for another data set are meaningless.
        """
        job = PurePosixPath(self.served_artifact()).parts[-3]  # s3://BUCKET/models/JOB/output/model.tar.gz
        trained_on = self._manifest(document_key(job, "manifest"))
        stored = self._manifest(MANIFEST)
        found = []
        for folder in folders:
            try:
                manifest = Manifest.load(folder)
            except DataSetError as error:
                found.append(str(error))
                continue
            is_models = manifest.data_digest == trained_on.get("data_digest") or (
                "archive" not in trained_on and list(manifest.classes) == trained_on.get("classes")
            )
            if is_models and (not stored or manifest.data_digest == stored["data_digest"]):
                return folder
            found.append(f"{folder} has {_digest(manifest.as_dict())} of {manifest.archive.source}")
        here = ", ".join([f"the bucket has {_digest(stored)}", *found])
        raise LocalCloudError(
            f"the model behind {self.config.endpoint_name}, of {job}, was trained on other data than there is, so its "
            f"predictions are not scored: it knows {_digest(trained_on)}, {here}. "
            f"`python -m local deploy --env {self.config.name}` serves the model that was trained last, "
            f"`python -m local train --env {self.config.name}` trains one"
        )

    def _manifest(self, key: str) -> dict[str, Any]:
        """The manifest of a data set, written by data_prep or retraining; empty if there is none."""
        s3 = boto3.client("s3")
        if not s3.list_objects_v2(Bucket=self.bucket, Prefix=key).get("KeyCount"):
            return {}
        manifest: dict[str, Any] = json.loads(s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        return manifest

    def label(self, outcomes: list[dict[str, Any]], truth: dict[str, str]) -> None:
        """Upload the true class of each image, by key, below `ground-truth/`."""
        lines = [
            label_line(ImageRef(o["s3_bucket"], o["s3_key"], o["s3_version_id"]), truth[o["s3_key"]]) for o in outcomes
        ]
        key = f"{prefixes.GROUND_TRUTH}{datetime.now(UTC):%Y/%m/%d/%H}/{uuid.uuid4()}.jsonl"
        body = "".join(f"{line}\n" for line in lines)
        boto3.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body.encode())

    def recorded_inference_ids(self) -> list[str]:
        """The InferenceIds of all recorded predictions that have one, as the workflow's have."""
        until = datetime.now(UTC) + timedelta(days=1)
        captures = CaptureSource(self.config, Window(until=until))
        return [capture.inference_id for capture in captures if capture.inference_id]

    def _executions(self) -> list[Any]:
        return boto3.client("stepfunctions").list_executions(stateMachineArn=self.state_machine_arn)["executions"]


class Inbox:
    """Receives the alert topic's messages, like an operator's mailbox."""

    def __init__(self, topic_arn: str) -> None:
        self._alarms: list[dict[str, Any]] = []
        self._sqs = boto3.client("sqs")
        self._url = self._sqs.create_queue(QueueName=f"inbox-{uuid.uuid4()}")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
            },
        }
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": json.dumps(policy)})
        boto3.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn)

    def messages(self) -> list[dict[str, str]]:
        """Remove and return the digests that have arrived: `Subject` and `Message` of each. Alarms stay."""
        messages: list[dict[str, str]] = []
        while received := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in received:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                messages.append(json.loads(message["Body"]))
        self._alarms += [json.loads(m["Message"]) for m in messages if m["Subject"].startswith("ALARM:")]
        return [message for message in messages if not message["Subject"].startswith("ALARM:")]

    def alarms(self) -> list[dict[str, Any]]:
        """Remove and return the alarms that have arrived, as CloudWatch describes them. Digests are dropped."""
        self.messages()
        alarms, self._alarms = self._alarms, []
        return alarms


def _digest(manifest: Mapping[str, Any]) -> str:
    digest = manifest.get("data_digest")  # unknown for an adopted model
    return f"data {digest[:8]}" if digest else "no data set of an archive"


def labelled_images(dataset: Path, classes: tuple[str, ...], *, at_most: int) -> list[LabelledImage]:
    """Test images of a data set folder that data_prep built and uploaded, alternating between the classes."""
    by_class: dict[int, list[LabelledImage]] = {}
    for line in (dataset / prefixes.TEST_LST / "test.lst").read_text(encoding="utf-8").splitlines():
        _, label, path = line.split("\t")
        image = LabelledImage(f"{prefixes.TEST}{path}", classes[int(label)])
        by_class.setdefault(int(label), []).append(image)
    rounds = max(map(len, by_class.values()))
    turns = [images[turn] for turn in range(rounds) for images in by_class.values() if turn < len(images)]
    return turns[:at_most]


def check_execution(environment: Environment, execution: Execution, keys: list[str]) -> None:
    """Raise UnexpectedError unless every image has one outcome, and everything agrees with it."""
    outcomes = execution.manifest.get("outcomes", [])
    if Counter(outcome["s3_key"] for outcome in outcomes) != Counter(keys):
        raise UnexpectedError(f"{len(outcomes)} outcomes for {len(keys)} images: {execution.arn}")
    failed = [outcome for outcome in outcomes if outcome["outcome"] == "FAILED"]
    if failed:
        raise UnexpectedError(f"{len(failed)} images failed, the first with {failed[0]['error']}: {failed[0]['cause']}")
    expected = ("FAILED", "InferencesRejected") if execution.counts["REJECTED"] else ("SUCCEEDED", None)
    if (execution.status, execution.error) != expected:
        raise UnexpectedError(f"{execution.arn} ended as {execution.status} {execution.error}, not {expected}")
    stored = set(environment.keys(prefixes.PREDICTIONS))
    for outcome in outcomes:
        key = f"{prefixes.PREDICTIONS}{outcome['s3_key']}/{outcome['s3_version_id']}.json"
        if (key in stored) != (outcome["outcome"] == "ACCEPTED"):
            raise UnexpectedError(f"{outcome['outcome']}, but the prediction says otherwise: {key}")


def wait_for(
    condition: Callable[[], T | None],
    what: str,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    poll_seconds: float = _POLL_SECONDS,
) -> T:
    """The condition's first result that is not None; raises UnexpectedError after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        result = condition()
        if result is not None:
            return result
        time.sleep(poll_seconds)
    raise UnexpectedError(f"waited {timeout_seconds:.0f} s for {what}")
