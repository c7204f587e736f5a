"""A paused environment: no endpoint, no cost, and no picture lost."""

import itertools
import json
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local import deployment
from local.cloud import LocalCloud
from local.demonstration import Environment, wait_for
from ops.paused import paused_since
from stacks.shared import prefixes
from tests.local.test_ops import ops
from tests.unit.ops.conftest import run as run_ops


def endpoint_status(environment: Environment) -> str:
    sagemaker = boto3.client("sagemaker")
    try:
        return sagemaker.describe_endpoint(EndpointName=environment.config.endpoint_name)["EndpointStatus"]
    except ClientError:
        return "None"


def served_artifact(environment: Environment) -> str:
    sagemaker = boto3.client("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName=environment.config.endpoint_name)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    return model["PrimaryContainer"]["ModelDataUrl"]


def copied(artifact: str) -> str:
    """The URI of a copy of an artifact."""
    bucket, _, key = artifact.removeprefix("s3://").partition("/")
    target = f"models/copy-{uuid.uuid4().hex}/output/model.tar.gz"
    boto3.client("s3").copy_object(Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": key})
    return f"s3://{bucket}/{target}"


def name_artifact(environment: Environment, uri: str) -> None:
    name = environment.config.artifact_parameter
    boto3.client("ssm").put_parameter(Name=name, Value=uri, Type="String", Overwrite=True)


def uploads(environment: Environment, image: str) -> Iterator[str]:
    """Keys of new copies of an image in one folder below incoming/, each made when it is asked for."""
    s3, folder = boto3.client("s3"), uuid.uuid4().hex
    for number in itertools.count():
        key = f"{prefixes.INCOMING}{folder}/{number}.png"
        s3.copy_object(Bucket=environment.bucket, Key=key, CopySource={"Bucket": environment.bucket, "Key": image})
        yield key


def upload(environment: Environment, image: str, count: int) -> list[str]:
    return list(itertools.islice(uploads(environment, image), count))


@cache
def outcomes_in(bucket: str, manifest: str) -> list[Any]:
    """A manifest is written once."""
    body = boto3.client("s3").get_object(Bucket=bucket, Key=manifest)["Body"]
    return list(json.load(body)["outcomes"])


def outcomes(environment: Environment, keys: list[str]) -> Counter[str]:
    """How the executions that these uploads started have ended so far."""
    wanted, found = set(keys), Counter[str]()
    for key in environment.keys(prefixes.MANIFESTS):
        if "/" in key.removeprefix(prefixes.MANIFESTS) or "-pause" in key:
            continue
        listed = outcomes_in(environment.bucket, key)
        mine = [each for each in listed if isinstance(each, dict) and str(each.get("s3_key")) in wanted]
        found += Counter(str(each) if each["outcome"] == "FAILED" else each["outcome"] for each in mine)
    return found


def predicted(environment: Environment, keys: list[str]) -> int:
    """How many of the uploads have a prediction."""
    stored = environment.keys(f"{prefixes.PREDICTIONS}{keys[0].rpartition('/')[0]}/")
    return len({key.rpartition("/")[0] for key in stored})


def succeeded(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def pause_machine(environment: Environment) -> str:
    stack = boto3.client("cloudformation").describe_stacks(StackName=f"{environment.config.stage_name}-Model")
    (arn,) = [o["OutputValue"] for o in stack["Stacks"][0]["Outputs"] if o["OutputKey"] == "EndpointPauseArn"]
    return arn


def run(environment: Environment, action: str) -> dict[str, Any]:
    """Start what a schedule of `endpoint.hours` starts, and wait for its end."""
    client, arn = boto3.client("stepfunctions"), pause_machine(environment)
    return end_of(client.start_execution(stateMachineArn=arn, input=json.dumps({"action": action}))["executionArn"])


def run_by_schedule(environment: Environment, action: str) -> dict[str, Any]:
    """Let the Scheduler start it, with the target that its schedules have, and wait for its end."""
    client, arn, name = boto3.client("stepfunctions"), pause_machine(environment), f"{action}-{uuid.uuid4().hex}"

    def executions() -> set[str]:
        return {each["executionArn"] for each in client.list_executions(stateMachineArn=arn)["executions"]}

    known = executions()
    boto3.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=f"at({datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={
            "Arn": arn,
            "RoleArn": f"arn:aws:iam::{arn.split(':')[4]}:role/scheduler",
            "Input": json.dumps({"action": action}),
        },
    )
    (started,) = wait_for(lambda: executions() - known or None, f"the start of the {action} by its schedule")
    return end_of(started)


def end_of(started: str) -> dict[str, Any]:
    client: Any = boto3.client("stepfunctions")

    def ended() -> dict[str, Any] | None:
        described: dict[str, Any] = client.describe_execution(executionArn=started)
        return None if described["status"] == "RUNNING" else described

    return wait_for(ended, f"the end of {started}")


def test_uploads_wait_while_the_endpoint_is_paused_and_are_classified_when_it_is_resumed(
    cloud: LocalCloud,
    environment: Environment,
    confident_images: list[str],
    assembly: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said(status: int, *arguments: str) -> str:
        """By a command of ops in this process."""
        assert run_ops(*arguments) == status
        output = capsys.readouterr()
        return output.out + output.err

    served = served_artifact(environment)
    shown = succeeded(ops(cloud, "pause", "--env", "dev"))
    assert "which saves 84 USD a month" in shown
    assert endpoint_status(environment) == "None"
    since = paused_since(environment.bucket)
    assert since is not None
    keys = upload(environment, confident_images[0], 20)
    wait_for(lambda: outcomes(environment, keys)["WAITING"] == 20 or None, "20 uploads that wait")
    assert predicted(environment, keys) == 0

    # Once more changes nothing: neither since when, nor what waits
    assert "is paused since" in said(0, "pause", "--env", "dev")
    assert paused_since(environment.bucket) == since
    for status, *command in ((1, "smoke"), (1, "bulk", "test/"), (0, "doctor"), (0, "outputs")):
        assert f"paused since {since:%Y-%m-%d %H:%M} UTC" in said(status, *command, "--env", "dev"), command
    # A deployment finds the stack as it left it
    deployment.deploy(cloud, assembly, "dev/Model")
    assert endpoint_status(environment) == "None"
    assert "Changes nothing in the cloud" in said(0, "diff", "--env", "dev", f"--app={assembly}")
    # What is handed over meanwhile is what comes back
    name_artifact(environment, trained := copied(served))

    shown = succeeded(ops(cloud, "resume", "--env", "dev"))
    assert "20 images: 20 accepted" in shown
    assert endpoint_status(environment) == "InService"
    assert served_artifact(environment) == trained
    name_artifact(environment, served)
    assert predicted(environment, keys) == 20
    assert paused_since(environment.bucket) is None
    assert "Nothing" not in shown
    assert "is in service" in said(0, "resume", "--env", "dev")


def test_two_at_a_time_end_in_one_state(environment: Environment) -> None:
    """Also where a pause was stopped before, between its record and the update of the stack."""
    record = json.dumps({"paused_at": "2026-11-26T18:00:00.000Z"})
    boto3.client("s3").put_object(Bucket=environment.bucket, Key=prefixes.PAUSE, Body=record.encode())
    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda action: run(environment, action), ["pause", "pause", "pause"]))
    assert [each["status"] for each in ended] == ["SUCCEEDED"] * 3, ended
    assert endpoint_status(environment) == "None"
    assert paused_since(environment.bucket) == datetime(2026, 11, 26, 18, tzinfo=UTC)
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda action: run(environment, action), ["resume", "resume"]))
    assert [each["status"] for each in ended] == ["SUCCEEDED"] * 2, ended
    assert endpoint_status(environment) == "InService"


def test_the_scheduler_pauses_and_resumes(environment: Environment) -> None:
    assert run_by_schedule(environment, "pause")["status"] == "SUCCEEDED"
    assert endpoint_status(environment) == "None"
    assert run_by_schedule(environment, "resume")["status"] == "SUCCEEDED"
    assert endpoint_status(environment) == "InService"


@pytest.mark.slow
def test_a_steady_stream_of_uploads_loses_none_in_three_pauses_and_resumes(
    environment: Environment, confident_images: list[str]
) -> None:
    keys, over = list[str](), threading.Event()

    def stream() -> None:
        for key in uploads(environment, confident_images[0]):
            keys.append(key)
            if over.wait(0.15):  # not all at once: a machine that is busy with them lets the steps time out
                return

    def ten_more() -> None:
        known = len(keys)
        wait_for(lambda: len(keys) >= known + 10 or None, "ten more uploads")

    with ThreadPoolExecutor(1) as pool:
        streaming = pool.submit(stream)
        try:
            for action in ("pause", "resume") * 3:
                assert run(environment, action)["status"] == "SUCCEEDED"
                ten_more()
        finally:
            over.set()
        streaming.result()
    wait_for(lambda: outcomes(environment, keys).total() >= len(keys) or None, "an outcome of each upload")
    found = outcomes(environment, keys)
    assert set(found) == {"ACCEPTED", "WAITING"}, found
    wait_for(lambda: predicted(environment, keys) == len(keys) or None, "a prediction of each upload")
