"""The bulk workflows end to end: the same outcomes and predictions as the inline workflow, through other engines."""

import contextlib
import csv
import gzip
import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner

from local.cloud import LocalCloud
from local.demonstration import Environment, Execution, Inbox, wait_for
from local.sagemaker.fault import Fault
from ops import counts
from ops.__main__ import application
from tests.local.classification.test_workflow import digest, inference_id

BAD_IMAGES = {"text.png": b"I am no image", "empty.png": b"", "huge.png": bytes(200_000)}


@pytest.fixture
def images(environment: Environment, confident_images: list[str]) -> list[str]:
    """Keys of confident images below a prefix of their own."""
    s3, prefix = boto3.client("s3"), f"scheduled/{uuid.uuid4()}/"
    keys = []
    for index, key in enumerate(confident_images[:7]):
        keys.append(f"{prefix}{index % 2}/{key.rpartition('/')[2]}")
        s3.copy_object(Bucket=environment.bucket, Key=keys[-1], CopySource=f"{environment.bucket}/{key}")
    return keys


def prefix_of(keys: list[str]) -> str:
    return "/".join(keys[0].split("/")[:2]) + "/"


def put(environment: Environment, key: str, body: bytes) -> str:
    boto3.client("s3").put_object(Bucket=environment.bucket, Key=key, Body=body)
    return key


def distributed_map(environment: Environment, **execution_input: str) -> Execution:
    return environment.execute(execution_input, state_machine_arn=environment.distributed_map_arn)


def batch_transform(environment: Environment, **execution_input: str) -> Execution:
    return environment.execute(execution_input, state_machine_arn=environment.batch_transform_arn)


def by_key(environment: Environment, execution: Execution) -> dict[str, dict[str, Any]]:
    outcomes = environment.outcomes(execution)
    found = {outcome.get("s3_key", ""): outcome for outcome in outcomes}
    assert len(found) == len(outcomes), "an image has two outcomes"
    return found


def check_all_accepted(environment: Environment, execution: Execution, keys: list[str]) -> None:
    assert (execution.status, execution.error) == ("SUCCEEDED", None)
    assert execution.counts == {"ACCEPTED": len(keys), "REJECTED": 0, "WAITING": 0, "FAILED": 0}
    outcomes = by_key(environment, execution)
    assert set(outcomes) == set(keys)
    stored = set(environment.keys("predictions/"))
    for key, outcome in outcomes.items():
        assert outcome["prediction_key"] in stored
        assert outcome["prediction_key"] == f"predictions/{key}/{outcome['s3_version_id']}.json"
    labels = [outcome["label"] for outcome in outcomes.values()]
    assert execution.manifest["labels"]["ACCEPTED"] == {label: labels.count(label) for label in set(labels)}


def test_a_prefix_is_classified_in_batches_as_the_inline_workflow_does_it(
    environment: Environment, inbox: Inbox, images: list[str]
) -> None:
    put(environment, f"{prefix_of(images)}folder/", b"")  # as the console makes one
    execution = distributed_map(environment, s3_prefix=prefix_of(images))
    check_all_accepted(environment, execution, images)
    assert digest(inbox)["Subject"] == f"Scones Unlimited dev: 0 of {len(images)} images not accepted"
    inline = environment.classify(images)
    names = ("outcome", "label", "confidence", "prediction_key")
    assert [{n: o[n] for n in names} for o in environment.outcomes(inline)] == [
        {n: by_key(environment, execution)[key][n] for n in names} for key in images
    ]


def test_more_images_than_a_batch_holds_are_several_children_with_the_counts_of_the_cost_model(
    environment: Environment, images: list[str]
) -> None:
    s3, prefix, size = boto3.client("s3"), f"scheduled/{uuid.uuid4()}/", environment.config.bulk_batch_size + 1
    keys = [f"{prefix}{number}.png" for number in range(size)]
    for number, key in enumerate(keys):
        source = f"{environment.bucket}/{images[number % len(images)]}"
        s3.copy_object(Bucket=environment.bucket, Key=key, CopySource=source)
    execution = distributed_map(environment, s3_prefix=prefix)
    check_all_accepted(environment, execution, keys)
    measured, committed = counts.measure(execution.arn, images=size), counts.load()["distributed-map"]
    assert measured.children == 2
    assert measured.child_tasks == {"lambda:invoke": 3 * size + 2}
    assert (measured.states_entered, measured.tasks) == (committed.states_entered, committed.tasks)
    assert committed.child_tasks == {"lambda:invoke": 3 * committed.images + committed.children}


@pytest.mark.parametrize(("name", "images_of_it"), [("inline-1", 1), ("inline", 5)])
def test_the_counts_of_the_cost_model_are_those_of_the_inline_workflow(
    environment: Environment, images: list[str], name: str, images_of_it: int
) -> None:
    measured = counts.measure(environment.classify(images[:images_of_it]).arn, images=images_of_it)
    committed = counts.load()[name]
    fixed = committed.states_entered - 3 * committed.images
    assert measured.states_entered == fixed + 3 * images_of_it
    assert measured.tasks == {"lambda:invoke": 3 * images_of_it, "aws-sdk:s3:putObject": 1}


def manifests(environment: Environment, keys: list[str]) -> Iterator[tuple[str, bytes]]:
    """The same images as CSV, as JSON lines and as S3 Inventory: key of the manifest and its content."""
    folder = f"bulk/{uuid.uuid4()}"
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([["s3_key", "s3_version_id"], *([key, ""] for key in keys)])
    yield f"{folder}/images.csv", text.getvalue().encode()
    yield f"{folder}/images.jsonl", "".join(f"{json.dumps({'s3_key': key})}\n" for key in keys).encode()
    rows = "".join(f'"{environment.bucket}","{key.replace("/", "%2F")}"\n' for key in keys)
    data = put(environment, f"{folder}/data/0.csv.gz", gzip.compress(rows.encode()))
    yield (
        f"{folder}/2024-12-22T01-00Z/manifest.json",
        json.dumps({"fileFormat": "CSV", "fileSchema": "Bucket, Key", "files": [{"key": data}]}).encode(),
    )


def test_each_kind_of_manifest_names_the_same_images(environment: Environment, images: list[str]) -> None:
    for key, content in manifests(environment, images):
        put(environment, key, content)
        check_all_accepted(environment, distributed_map(environment, manifest_key=key), images)


def test_bad_images_and_bad_rows_end_as_outcomes_and_cancel_nothing(
    environment: Environment, inbox: Inbox, images: list[str]
) -> None:
    for name, body in BAD_IMAGES.items():
        put(environment, f"{prefix_of(images)}{name}", body)
    rows = [*images, *(f"{prefix_of(images)}{name}" for name in BAD_IMAGES), f"{prefix_of(images)}missing.png"]
    lines = [json.dumps({"s3_key": key}) for key in rows] + ['{"colour": "red"}']
    key = put(environment, f"bulk/{uuid.uuid4()}.jsonl", "\n".join(lines).encode())
    execution = distributed_map(environment, manifest_key=key)
    assert (execution.status, execution.error) == ("FAILED", "InferencesFailed")
    assert execution.counts == {"ACCEPTED": len(images), "REJECTED": 0, "WAITING": 0, "FAILED": 5}
    assert execution.manifest["errors"] == {
        "CorruptImageError": 2,
        "ImageTooLargeError": 1,
        "ImageNotFoundError": 1,
        "InvalidInputError": 1,
    }
    assert "CorruptImageError" in digest(inbox)["Message"]


def test_a_second_run_invokes_the_endpoint_only_for_the_remaining_images(
    cloud: LocalCloud, environment: Environment, images: list[str]
) -> None:
    unsure = images[0]
    fault = Fault(status=200, body="[0.6, 0.4]", inference_id=inference_id(environment, unsure))
    cloud.order_faults(environment.config.endpoint_name, fault)
    first = distributed_map(environment, s3_prefix=prefix_of(images))
    assert (first.status, first.error) == ("FAILED", "InferencesRejected")
    assert first.counts == {"ACCEPTED": len(images) - 1, "REJECTED": 1, "WAITING": 0, "FAILED": 0}
    ids = {inference_id(environment, key) for key in images}

    def captured() -> list[str] | None:
        found = [captured for captured in environment.recorded_inference_ids() if captured in ids]
        return found if len(found) >= len(images) else None

    wait_for(captured, "the captures of the first run")
    check_all_accepted(environment, distributed_map(environment, s3_prefix=prefix_of(images)), images)
    expected = [*sorted(ids), inference_id(environment, unsure)]
    assert sorted(wait_for(lambda: found if len(found := captured() or []) > len(ids) else None, "one more")) == sorted(
        expected
    )


@contextlib.contextmanager
def denied(state_machine_arn: str, action: str) -> Iterator[None]:
    """A state machine that may not do one thing, for a while."""
    iam, states = boto3.client("iam"), boto3.client("stepfunctions")
    role = states.describe_state_machine(stateMachineArn=state_machine_arn)["roleArn"].rpartition("/")[2]
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": action, "Resource": "*"}]}
    iam.put_role_policy(RoleName=role, PolicyName="deny", PolicyDocument=json.dumps(deny))
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="deny")


def test_a_listing_that_breaks_is_the_workflows_failure(
    environment: Environment, inbox: Inbox, images: list[str]
) -> None:
    with denied(environment.distributed_map_arn, "s3:ListBucket"):
        execution = distributed_map(environment, s3_prefix=prefix_of(images))
    assert (execution.status, execution.error) == ("FAILED", "States.ItemReaderFailed")
    assert digest(inbox)["Subject"] == "Scones Unlimited dev: workflow broken"


@pytest.mark.parametrize(
    "execution_input",
    [
        {},
        {"s3_prefix": "models/"},
        {"s3_prefix": "test"},
        {"manifest_key": "test/images.csv"},
        {"manifest_key": "bulk/images.txt"},
        {"s3_prefix": "test/", "manifest_key": "bulk/images.csv"},
        {"s3_prefix": "test/", "s3_bucket": "another"},
    ],
)
def test_an_invalid_input_is_refused(environment: Environment, execution_input: dict[str, str]) -> None:
    execution = distributed_map(environment, **execution_input)
    assert (execution.status, execution.error) == ("FAILED", "InvalidInputError")


def test_batch_transform_ends_in_the_same_predictions(
    environment: Environment, inbox: Inbox, images: list[str]
) -> None:
    execution = batch_transform(environment, s3_prefix=prefix_of(images))
    check_all_accepted(environment, execution, images)
    measured, committed = counts.measure(execution.arn, images=len(images)), counts.load()["batch-transform"]
    assert (measured.states_entered, measured.tasks) == (committed.states_entered, committed.tasks)
    assert measured.child_tasks == {"lambda:invoke": 2 * len(images)}
    assert digest(inbox)["Subject"] == f"Scones Unlimited dev: 0 of {len(images)} images not accepted"
    inline = {outcome["s3_key"]: outcome for outcome in environment.outcomes(environment.classify(images))}
    for key, outcome in by_key(environment, execution).items():
        assert outcome["label"] == inline[key]["label"]
        assert outcome["confidence"] == pytest.approx(inline[key]["confidence"])
    stored = boto3.client("s3").get_object(Bucket=environment.bucket, Key=outcome["prediction_key"])
    assert set(json.loads(stored["Body"].read())) == {
        "s3_bucket", "s3_key", "s3_version_id", "inference_id", "label", "confidence", "inferences",
    }  # fmt: skip


def test_a_failed_transform_job_loses_only_the_images_that_it_refused(
    environment: Environment, images: list[str]
) -> None:
    put(environment, f"{prefix_of(images)}text.png", BAD_IMAGES["text.png"])
    execution = batch_transform(environment, s3_prefix=prefix_of(images))
    assert (execution.status, execution.error) == ("FAILED", "InferencesFailed")
    assert execution.counts == {"ACCEPTED": len(images), "REJECTED": 0, "WAITING": 0, "FAILED": 1}
    failed = by_key(environment, execution)[f"{prefix_of(images)}text.png"]
    assert failed["error"] == "NotTransformedError"
    assert "1 of 8 objects were not transformed" in failed["cause"]


def test_batch_transform_accepts_a_list_of_images(environment: Environment, images: list[str]) -> None:
    key = f"bulk/{uuid.uuid4()}.manifest"
    listed, missing = images[:3], f"{prefix_of(images)}missing.png"
    put(environment, key, json.dumps([{"prefix": f"s3://{environment.bucket}/"}, *listed]).encode())
    check_all_accepted(environment, batch_transform(environment, manifest_key=key), listed)
    put(environment, key, json.dumps([{"prefix": f"s3://{environment.bucket}/"}, *listed, missing]).encode())
    execution = batch_transform(environment, manifest_key=key)
    assert execution.counts == {"ACCEPTED": len(listed), "REJECTED": 0, "WAITING": 0, "FAILED": 1}
    assert by_key(environment, execution)[missing]["error"] == "ImageNotFoundError"


@pytest.fixture
def released(environment: Environment) -> Iterator[str]:
    """Another model that the endpoint serves since the deployment, as a release leaves it."""
    sagemaker, name = boto3.client("sagemaker"), f"{environment.config.stage_name}-{uuid.uuid4()}"[:40]
    endpoint_name = environment.config.endpoint_name

    def serve(endpoint_config: str) -> None:
        sagemaker.update_endpoint(EndpointName=endpoint_name, EndpointConfigName=endpoint_config)
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=endpoint_name, WaiterConfig={"Delay": 1})

    deployed = sagemaker.describe_endpoint(EndpointName=endpoint_name)["EndpointConfigName"]
    like: Any = sagemaker.describe_endpoint_config(EndpointConfigName=deployed)
    model: Any = sagemaker.describe_model(ModelName=like["ProductionVariants"][0]["ModelName"])
    names = ("PrimaryContainer", "ExecutionRoleArn", "EnableNetworkIsolation")
    sagemaker.create_model(ModelName=name, **{key: model[key] for key in names})
    variant: Any = {**like["ProductionVariants"][0], "ModelName": name}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[variant], DataCaptureConfig=like["DataCaptureConfig"]
    )
    serve(name)
    yield name
    serve(deployed)


def test_batch_transform_uses_the_model_that_the_endpoint_serves_now(
    environment: Environment, images: list[str], released: str
) -> None:
    execution = batch_transform(environment, s3_prefix=prefix_of(images))
    check_all_accepted(environment, execution, images)
    sagemaker, name = boto3.client("sagemaker"), execution.arn.rpartition(":")[2]
    (job,) = sagemaker.list_transform_jobs(NameContains=name)["TransformJobSummaries"]
    assert sagemaker.describe_transform_job(TransformJobName=job["TransformJobName"])["ModelName"] == released


def test_a_served_model_that_cannot_be_read_is_the_workflows_failure(
    environment: Environment, inbox: Inbox, images: list[str]
) -> None:
    with denied(environment.batch_transform_arn, "sagemaker:DescribeEndpoint"):
        execution = batch_transform(environment, s3_prefix=prefix_of(images))
    assert (execution.status, execution.error) == ("FAILED", "ServedModelUnknownError")
    assert digest(inbox)["Subject"] == "Scones Unlimited dev: workflow broken"


@pytest.mark.parametrize(
    "execution_input",
    [{"s3_prefix": "scheduled/no-slash"}, {"s3_prefix": "models/"}, {"manifest_key": "bulk/images.csv"}],
)
def test_batch_transform_accepts_a_folder_or_a_list_in_sagemakers_form(
    environment: Environment, execution_input: dict[str, str]
) -> None:
    execution = batch_transform(environment, **execution_input)
    assert (execution.status, execution.error) == ("FAILED", "InvalidInputError")


def test_ops_bulk_prints_the_price_of_each_method_and_starts_the_cheapest(
    environment: Environment, images: list[str]
) -> None:
    result = CliRunner().invoke(application(), ["bulk", prefix_of(images), "--env", "dev"], catch_exceptions=False)
    *reasons, arn = result.stdout.splitlines()
    counted = f"{len(images)} images below s3://{environment.bucket}/{prefix_of(images)}"
    assert reasons[0] == f"{counted}, by us-east-1's list prices:"
    assert any("Distributed Map: the cheapest" in line for line in reasons)
    check_all_accepted(environment, environment.follow(arn), images)
