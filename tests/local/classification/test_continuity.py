"""No image fails while the environment is changed. Runs before the faults, whose alarms would end the update."""

import json
import threading
from pathlib import Path

import boto3

from local import deployment
from local.cloud import LocalCloud
from local.demonstration import Environment, Execution
from local.retraining import calm_down


def test_no_image_fails_while_the_model_is_replaced(
    environment: Environment, cloud: LocalCloud, assembly: Path, confident_images: list[str]
) -> None:
    """A stack update to another artifact, and one back to the first, while executions run one after the other."""
    s3, ssm = boto3.client("s3"), boto3.client("ssm")
    parameter = environment.config.artifact_parameter
    artifact = ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
    key = artifact.removeprefix(f"s3://{environment.bucket}/")
    copy = key.replace("/output/", "-copy/output/")
    s3.copy_object(Bucket=environment.bucket, Key=copy, CopySource={"Bucket": environment.bucket, "Key": key})

    def served_config() -> str:
        endpoint = boto3.client("sagemaker").describe_endpoint(EndpointName=environment.config.endpoint_name)
        return endpoint["EndpointConfigName"]

    executions: list[Execution] = []
    done = threading.Event()

    def classify_on_and_on() -> None:
        while not done.is_set():
            executions.append(environment.classify(confident_images))

    calm_down(environment, cloud)
    thread = threading.Thread(target=classify_on_and_on)
    thread.start()
    try:
        for uri in (f"s3://{environment.bucket}/{copy}", artifact):
            before = served_config()
            ssm.put_parameter(Name=parameter, Value=uri, Type="String", Overwrite=True)
            deployment.deploy(cloud, assembly, "dev/Model")
            assert served_config() != before, "the model was replaced"
    finally:
        done.set()
        thread.join()
    assert len(executions) >= 2
    for execution in executions:
        assert execution.counts == {"ACCEPTED": len(confident_images), "REJECTED": 0, "WAITING": 0, "FAILED": 0}, (
            json.dumps(execution.manifest)
        )
