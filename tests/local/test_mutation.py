"""Each grant is needed: without it, something visible fails in the running environment.

`make mutate` runs it. What the local cloud does not enforce (logs, metrics, keys) is evaluated from the templates in
tests/infrastructure/test_least_privilege.py, which judges every role and also each action.
"""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import boto3
import pytest

from local.cloud import LocalCloud
from local.demonstration import Environment, Inbox, wait_for
from local.drift import check_for_drift
from ops.aws import retraining_machine
from stacks.config import PROJECT_ROOT
from stacks.shared import prefixes
from tests.local.mutation import assert_each_grant_is_needed
from tests.local.test_pause import outcomes, predicted, run, upload

pytestmark = pytest.mark.slow


def is_told(inbox: Inbox, execution_arn: str) -> bool:
    """Whether the topic has told of an execution that has ended: it does so before the end, and at once."""
    return any(execution_arn in message["Message"] for message in inbox.messages())


@pytest.fixture
def workflow_works(environment: Environment, confident_images: list[str]) -> Callable[[], None]:
    """A list with an image of each prefix, one by its version, and one that is missing; a prefix; the digest."""
    s3 = boto3.client("s3")
    folder = uuid.uuid4().hex
    data = s3.get_object(Bucket=environment.bucket, Key=confident_images[0])["Body"].read()
    items = []
    for prefix in (prefixes.INCOMING, prefixes.SCHEDULED, prefixes.TEST):
        key = f"{prefix}{folder}/a.png"
        version = s3.put_object(Bucket=environment.bucket, Key=key, Body=data)["VersionId"]
        items.append({"s3_bucket": environment.bucket, "s3_key": key})
    items.append({**items[-1], "s3_version_id": version})
    items.append({"s3_bucket": environment.bucket, "s3_key": f"test/{folder}/missing.png"})
    inbox = Inbox(environment.alert_topic_arn)

    def works() -> None:
        execution = environment.execute({"images": items})
        outcomes = execution.manifest.get("outcomes", [])
        assert [o["outcome"] for o in outcomes] == ["ACCEPTED"] * 4 + ["FAILED"]
        assert outcomes[-1]["error"] == "ImageNotFoundError"
        assert is_told(inbox, execution.arn)
        listed = environment.execute({"s3_bucket": environment.bucket, "s3_prefix": f"scheduled/{folder}/"})
        assert listed.status == "SUCCEEDED"

    return works


@pytest.mark.parametrize("role", ["SerializeImageDataRole", "FilterConfidenceRole", "ClassificationWorkflowRole"])
def test_every_grant_of_the_workflow_is_needed(
    cloud: LocalCloud, role: str, workflow_works: Callable[[], None]
) -> None:
    assert_each_grant_is_needed(cloud, role, workflow_works)


@pytest.mark.parametrize("role", ["EndpointPauseRole", "ClassifierRole"])
def test_every_grant_of_a_pause_is_needed(
    cloud: LocalCloud, role: str, environment: Environment, confident_images: list[str]
) -> None:
    inbox = Inbox(environment.alert_topic_arn)
    retraining: Any = boto3.client("stepfunctions")
    machine = retraining_machine(environment.config)

    def works() -> None:
        inbox.messages()
        # One that fails, and says so
        started = retraining.start_execution(stateMachineArn=machine, input=json.dumps({"force": True}))
        refused = run(environment, "pause")
        described = partial(retraining.describe_execution, executionArn=started["executionArn"])
        wait_for(lambda: described()["status"] != "RUNNING" or None, "the run's end: there is nothing new to train on")
        assert refused.get("error") == "RetrainingInProgressError"
        assert any("not paused" in message["Subject"] for message in inbox.messages())
        assert run(environment, "pause")["status"] == "SUCCEEDED"
        keys = upload(environment, confident_images[0], 1)
        assert wait_for(lambda: outcomes(environment, keys) or None, "the upload's outcome") == {"WAITING": 1}
        resumed = run(environment, "resume")
        assert resumed["status"] == "SUCCEEDED"
        environment.follow(json.loads(resumed["output"])["classification"])
        assert predicted(environment, keys) == 1
        assert environment.classify(confident_images[:1]).counts["ACCEPTED"] == 1

    def resume() -> None:
        assert run(environment, "resume")["status"] == "SUCCEEDED"

    assert_each_grant_is_needed(cloud, role, works, recover=resume)


def images_of_each_prefix(environment: Environment, data: bytes) -> tuple[str, list[str]]:
    """A new folder, and the keys of one image in it below each prefix."""
    folder = uuid.uuid4().hex
    keys = [f"{prefix}{folder}/a.png" for prefix in (prefixes.INCOMING, prefixes.SCHEDULED, prefixes.TEST)]
    for key in keys:
        boto3.client("s3").put_object(Bucket=environment.bucket, Key=key, Body=data)
    return folder, keys


@pytest.fixture
def bulk_works(
    environment: Environment, cloud: LocalCloud, confident_images: list[str]
) -> dict[str, Callable[[], None]]:
    """By workflow: a list and a prefix, the digest; of the Distributed Map also that nothing is asked for twice."""
    s3 = boto3.client("s3")
    data = s3.get_object(Bucket=environment.bucket, Key=confident_images[0])["Body"].read()
    inbox = Inbox(environment.alert_topic_arn)

    def all_accepted(arn: str, count: int, **execution_input: str) -> None:
        execution = environment.execute(execution_input, state_machine_arn=arn)
        assert execution.status == "SUCCEEDED", execution.error
        assert execution.counts["ACCEPTED"] == count
        assert is_told(inbox, execution.arn)

    def asked() -> int:
        return sum(cloud.endpoint_requests(environment.config.endpoint_name).values())

    def distributed_map() -> None:
        folder, keys = images_of_each_prefix(environment, data)
        listed = f"{prefixes.BULK}{folder}.csv"
        s3.put_object(Bucket=environment.bucket, Key=listed, Body="\n".join(["s3_key", *keys]).encode())
        # The upload below incoming/ starts the inline workflow; the other images are asked for here, and once
        wait_for(lambda: environment.keys(f"{prefixes.PREDICTIONS}{keys[0]}/") or None, "the upload's prediction")
        before = asked()
        all_accepted(environment.distributed_map_arn, len(keys), manifest_key=listed)
        all_accepted(environment.distributed_map_arn, len(keys), manifest_key=listed)
        all_accepted(environment.distributed_map_arn, 1, s3_prefix=f"{prefixes.INCOMING}{folder}/")
        assert asked() == before + len(keys) - 1

    def batch_transform() -> None:
        folder, keys = images_of_each_prefix(environment, data)
        listed = f"{prefixes.BULK}{folder}.manifest"
        content = json.dumps([{"prefix": f"s3://{environment.bucket}/"}, *keys])
        s3.put_object(Bucket=environment.bucket, Key=listed, Body=content.encode())
        all_accepted(environment.batch_transform_arn, len(keys), manifest_key=listed)
        all_accepted(environment.batch_transform_arn, 1, s3_prefix=f"{prefixes.INCOMING}{folder}/")

    return {"distributed-map": distributed_map, "batch-transform": batch_transform}


@pytest.mark.parametrize(
    ("role", "workflow"),
    [
        ("DistributedMapRole", "distributed-map"),
        ("FindPredictionsRole", "distributed-map"),
        ("BulkSummaryRole", "distributed-map"),
        ("BatchTransformRole", "batch-transform"),
        ("ReadTransformOutputRole", "batch-transform"),
    ],
)
def test_every_grant_of_the_bulk_workflows_is_needed(
    cloud: LocalCloud, role: str, workflow: str, bulk_works: dict[str, Callable[[], None]]
) -> None:
    assert_each_grant_is_needed(cloud, role, bulk_works[workflow])


def test_every_grant_of_the_drift_monitor_is_needed(
    environment: Environment, cloud: LocalCloud, confident_images: list[str]
) -> None:
    command = [sys.executable, "-m", "data_prep", "baseline", "--env", "dev"]
    subprocess.run(command, cwd=PROJECT_ROOT, env=cloud.environment, check=True, timeout=300)
    environment.classify(confident_images)
    wait_for(lambda: environment.recorded_inference_ids() or None, "a capture")

    def works() -> None:
        end = datetime.now(UTC) + timedelta(seconds=1)
        reports = len(environment.keys(f"{prefixes.MONITORING}drift/"))
        assert check_for_drift(environment, start=end - timedelta(hours=6), end=end)["requests"]
        assert len(environment.keys(f"{prefixes.MONITORING}drift/")) == reports + 1

    assert_each_grant_is_needed(cloud, "DriftMonitorRole", works)


def invoke(function: str, event: dict[str, Any]) -> dict[str, Any]:
    """What the function whose name holds this part answers; an AssertionError with its error."""
    client = boto3.client("lambda")
    pages = client.get_paginator("list_functions").paginate()
    (name,) = [f["FunctionName"] for page in pages for f in page["Functions"] if f"-{function}" in f["FunctionName"]]
    response = client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    answer: dict[str, Any] = json.loads(response["Payload"].read())
    assert "FunctionError" not in response, answer
    return answer


def test_every_grant_of_the_model_accuracy_is_needed(
    cloud: LocalCloud, environment: Environment, confident_images: list[str]
) -> None:
    environment.classify(confident_images)
    requests = wait_for(lambda: environment.recorded_inference_ids() or None, "a capture")
    labels = [{"groundTruthData": {"data": "bicycle"}, "eventMetadata": {"eventId": request}} for request in requests]
    boto3.client("s3").put_object(
        Bucket=environment.bucket,
        Key=f"{prefixes.GROUND_TRUTH}{uuid.uuid4().hex}.jsonl",
        Body="\n".join(map(json.dumps, labels)).encode(),
    )

    def works() -> None:
        end = datetime.now(UTC) + timedelta(seconds=1)
        reports = len(environment.keys(f"{prefixes.MONITORING}accuracy/"))
        report = invoke("ModelAccuracy", {"start": (end - timedelta(hours=6)).isoformat(), "end": end.isoformat()})
        assert report["labelled"]
        assert len(environment.keys(f"{prefixes.MONITORING}accuracy/")) == reports + 1

    assert_each_grant_is_needed(cloud, "ModelAccuracyRole", works)


def test_every_grant_of_the_release_log_is_needed(cloud: LocalCloud, environment: Environment) -> None:
    endpoint = boto3.client("sagemaker").describe_endpoint(EndpointName=environment.config.endpoint_name)

    def works() -> None:
        detail = {
            "EndpointConfigName": endpoint["EndpointConfigName"],
            "EndpointStatus": "IN_SERVICE",
            "LastModifiedTime": time.time() * 1000,
        }
        record = invoke("ReleaseLog", {"detail": detail})
        assert f"{prefixes.RELEASES}{record['time']}-IN_SERVICE.json" in environment.keys(prefixes.RELEASES)

    assert_each_grant_is_needed(cloud, "ReleaseLogRole", works)


@pytest.fixture
def sagemaker_steps(
    cloud: LocalCloud, environment: Environment, confident_images: list[str]
) -> list[Callable[[], None]]:
    """A training job, a transform job over each prefix of images, a captured request, an update that alarms watch."""
    sagemaker = boto3.client("sagemaker")
    trained = sagemaker.list_training_jobs()["TrainingJobSummaries"][0]["TrainingJobName"]
    job = sagemaker.describe_training_job(TrainingJobName=trained)
    endpoint = sagemaker.describe_endpoint(EndpointName=environment.config.endpoint_name)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = config["ProductionVariants"][0]["ModelName"]
    # SageMaker refuses to update an endpoint with the config that it has: each update goes to the other of two
    settings = {"ProductionVariants", "DataCaptureConfig", "KmsKeyId"}
    alike: Any = {key: value for key, value in config.items() if key in settings}
    other = f"{environment.config.stage_name}-mutation-{uuid.uuid4().hex[:12]}"
    sagemaker.create_endpoint_config(EndpointConfigName=other, **alike)
    s3 = boto3.client("s3")
    data = s3.get_object(Bucket=environment.bucket, Key=confident_images[0])["Body"].read()
    folder, bucket = uuid.uuid4().hex, f"s3://{environment.bucket}/"
    sources = []
    for prefix in (prefixes.INCOMING, prefixes.SCHEDULED):
        s3.put_object(Bucket=environment.bucket, Key=f"{prefix}{folder}/a.png", Body=data)
        sources.append(("S3Prefix", f"{bucket}{prefix}{folder}/a.png", prefixes.TRANSFORMS))
    listed = json.dumps([{"prefix": bucket}, confident_images[0]]).encode()
    for key, role in (
        (f"{prefixes.RETRAINING}{folder}/validation.manifest", "candidate"),
        (f"{prefixes.BULK}{folder}.manifest", "incumbent"),
    ):
        s3.put_object(Bucket=environment.bucket, Key=key, Body=listed)
        sources.append(("ManifestFile", f"{bucket}{key}", f"{prefixes.RETRAINING}{folder}/{role}/"))
    watched: Any = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        },
        "AutoRollbackConfiguration": {
            "Alarms": [{"AlarmName": name} for name in environment.config.update_alarm_names]
        },
    }
    keys = (
        "AlgorithmSpecification",
        "RoleArn",
        "HyperParameters",
        "InputDataConfig",
        "OutputDataConfig",
        "ResourceConfig",
    )

    def new_name() -> str:
        return f"{environment.config.stage_name}-mutation-{uuid.uuid4().hex[:12]}"

    def train() -> None:
        name = new_name()
        request = {key: job[key] for key in (*keys, "StoppingCondition")}  # type: ignore[literal-required]
        sagemaker.create_training_job(TrainingJobName=name, **request)
        ended(lambda: sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"])

    def transform(kind: str, uri: str, output: str) -> None:
        name = new_name()
        source: Any = {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}}
        sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName=model,
            TransformInput={"ContentType": "application/x-image", "DataSource": source},
            TransformOutput={"S3OutputPath": f"{bucket}{output}{name}"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        ended(lambda: sagemaker.describe_transform_job(TransformJobName=name)["TransformJobStatus"])

    def capture() -> None:
        log = cloud.directory / "local.emulator.log"
        begun, before = log.stat().st_size, len(environment.recorded_inference_ids())
        environment.classify(confident_images[:1])

        def is_captured() -> bool:
            return len(environment.recorded_inference_ids()) > before

        def is_over() -> bool | None:
            return is_captured() or b"/SageMaker: s3:PutObject" in log.read_bytes()[begun:] or None

        wait_for(is_over, "a capture or its refusal")
        assert is_captured()

    def update() -> None:
        served = sagemaker.describe_endpoint(EndpointName=endpoint["EndpointName"])["EndpointConfigName"]
        sagemaker.update_endpoint(
            EndpointName=endpoint["EndpointName"],
            EndpointConfigName=endpoint["EndpointConfigName"] if served == other else other,
            DeploymentConfig=watched,
        )
        sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName=endpoint["EndpointName"], WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )

    return [train, *(partial(transform, *source) for source in sources), capture, update]


def ended(status: Callable[[], str]) -> None:
    final = wait_for(lambda: answer if (answer := status()) not in {"InProgress", "Stopping"} else None, "a job's end")
    assert final == "Completed"


def test_every_grant_of_sagemaker_is_needed(cloud: LocalCloud, sagemaker_steps: list[Callable[[], None]]) -> None:
    assert_each_grant_is_needed(cloud, "SageMakerRole", *sagemaker_steps)
