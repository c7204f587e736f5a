"""What is interrupted is taken up again, and nothing is lost meanwhile."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import boto3
import pytest

from local import deployment
from local.cloud import LocalCloud
from local.demonstration import Environment, Execution
from stacks import prefixes
from stacks.config import PROJECT_ROOT

# Runs `data_prep upload` and kills itself, as kill -9 would, with the 30th object
_KILLED_UPLOAD = """
import itertools, os, signal, sys
from data_prep import aws, upload
count = itertools.count(1)
def killed(*arguments, _bring=upload._bring):
    if next(count) == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return _bring(*arguments)
upload._bring = killed
upload.upload_dataset(__import__("pathlib").Path(sys.argv[1]), sys.argv[2])
"""


def test_an_upload_that_was_killed_half_way_is_taken_up_again(
    environment: Environment, cloud: LocalCloud, dataset: Path
) -> None:
    s3 = boto3.client("s3")
    names = (prefixes.TRAIN, prefixes.TRAIN_LST)
    keys = [key for prefix in names for key in environment.keys(prefix)]
    assert len(keys) > 60
    for key in keys:
        s3.delete_object(Bucket=environment.bucket, Key=key)

    killed = subprocess.run(
        [sys.executable, "-c", _KILLED_UPLOAD, str(dataset), environment.bucket],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        check=False,
        timeout=120,
    )
    assert killed.returncode == -9
    after_kill = {key for prefix in names for key in environment.keys(prefix)}
    assert after_kill < set(keys)
    assert not environment.keys(prefixes.TRAIN_LST), "a list must not name images that are not there"

    subprocess.run(
        [sys.executable, "-m", "data_prep", "upload", "--env", "dev", "--dataset", str(dataset), "--quiet"],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        check=True,
        timeout=120,
    )
    assert {key for prefix in names for key in environment.keys(prefix)} == set(keys)


@pytest.mark.slow  # failed once after the fault suite, for a reason not yet known
def test_no_image_fails_while_the_model_is_replaced(
    environment: Environment, cloud: LocalCloud, assembly: Path, confident_images: list[str]
) -> None:
    """Another artifact, and a stack update that serves it, while executions run one after the other."""
    s3, ssm = boto3.client("s3"), boto3.client("ssm")
    parameter = environment.config.artifact_parameter
    artifact = ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
    key = artifact.removeprefix(f"s3://{environment.bucket}/")
    copy = key.replace("/output/", "/copy/")
    s3.copy_object(Bucket=environment.bucket, Key=copy, CopySource={"Bucket": environment.bucket, "Key": key})
    before = boto3.client("sagemaker").describe_endpoint(EndpointName=environment.config.endpoint_name)

    executions: list[Execution] = []
    done = threading.Event()

    def classify_on_and_on() -> None:
        while not done.is_set():
            executions.append(environment.classify(confident_images))

    thread = threading.Thread(target=classify_on_and_on)
    thread.start()
    try:
        ssm.put_parameter(Name=parameter, Value=f"s3://{environment.bucket}/{copy}", Type="String", Overwrite=True)
        deployment.deploy(cloud, assembly, "dev/Model")
    finally:
        done.set()
        thread.join()
    after = boto3.client("sagemaker").describe_endpoint(EndpointName=environment.config.endpoint_name)
    assert after["EndpointConfigName"] != before["EndpointConfigName"], "the model was replaced"
    assert len(executions) >= 2
    for execution in executions:
        assert execution.counts == {"ACCEPTED": len(confident_images), "REJECTED": 0, "FAILED": 0}, json.dumps(
            execution.manifest
        )
