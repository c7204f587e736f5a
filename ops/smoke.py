"""The command `smoke`: sends a few test images to the endpoint, and one through the workflow."""

import json
import time
import uuid
from dataclasses import dataclass

from botocore.exceptions import ClientError
from rich.console import Console

from data_prep import aws
from data_prep.options import EnvironmentName
from data_prep.target import current_target, make_command
from lambda_src.shared.errors import InvalidPredictionError
from lambda_src.shared.predictions import best_class, is_accepted, parse_probabilities
from ops.errors import OpsError
from ops.outputs import stack_outputs
from ops.paused import refuse_while_paused
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared import prefixes
from stacks.shared.algorithm import CONTENT_TYPE

IMAGES = 10
_POLL_SECONDS = 0.5
_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Response:
    """The endpoint's response to one test image."""

    key: str
    true_class: str
    label: str
    confidence: float
    milliseconds: float


def smoke_test(config: EnvironmentConfig) -> list[Response]:
    """Invoke the endpoint with test images of every class, then send the most confident one through the workflow.

    Raises OpsError if the endpoint is not in service, does not return probabilities or is mostly wrong, or if the
    workflow does not store the prediction.
    """
    outputs = stack_outputs(config)
    for stack in ("Data", "Model", "Workflow"):
        if stack not in outputs:
            raise OpsError(
                f"{config.name}/{stack} is not deployed in {current_target()}: deploy it with "
                f"`{make_command('deploy', config.name)}`"
            )
    bucket = outputs["Data"]["BucketName"]
    refuse_while_paused(config, bucket, needs="the smoke test invokes")
    _check_in_service(config)
    responses = [_invoke(config, bucket, key, true_class) for key, true_class in _test_images(config, bucket, IMAGES)]
    correct = sum(response.label == response.true_class for response in responses)
    if 2 * correct < len(responses):
        raise OpsError(
            f"endpoint {config.endpoint_name} predicts {correct} of {len(responses)} test images correctly: the order "
            f"of `classes` in cdk.json may not be the model's; `python -m ops doctor --env {config.name}` compares them"
        )
    best = max(responses, key=lambda response: response.confidence)
    if is_accepted(best.confidence, config.confidence_threshold):
        _classify(outputs["Workflow"]["StateMachineArn"], bucket, best.key)
    return responses


def _check_in_service(config: EnvironmentConfig) -> None:
    name = config.endpoint_name
    try:
        endpoint = aws.sagemaker().describe_endpoint(EndpointName=name)
    except ClientError as error:
        raise OpsError(f"endpoint {name}: {error}: deploy it with `{make_command('deploy', config.name)}`") from None
    if endpoint["EndpointStatus"] not in {"InService", "Updating"}:
        reason = endpoint.get("FailureReason", "no reason given")
        raise OpsError(f"endpoint {name} is {endpoint['EndpointStatus']}: {reason}")


def _test_images(config: EnvironmentConfig, bucket: str, count: int) -> list[tuple[str, str]]:
    """Key and true class of test images, the classes taking turns."""
    key = f"{prefixes.TEST_LST}test.lst"
    try:
        listing = aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    except aws.s3().exceptions.NoSuchKey:
        raise OpsError(
            f"s3://{bucket}/{key} does not exist: upload a data set with `python -m data_prep run --env {config.name}`"
        ) from None
    by_class: dict[int, list[str]] = {}
    for line in listing.splitlines():
        _, label, path = line.split("\t")
        by_class.setdefault(int(float(label)), []).append(f"{prefixes.TEST}{path}")
    turns = [
        (keys[turn], config.classes[label])
        for turn in range(count)
        for label, keys in sorted(by_class.items())
        if turn < len(keys)
    ]
    return turns[:count]


def _invoke(config: EnvironmentConfig, bucket: str, key: str, true_class: str) -> Response:
    data = aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    started = time.perf_counter()
    try:
        response = aws.sagemaker_runtime().invoke_endpoint(
            EndpointName=config.endpoint_name, ContentType=CONTENT_TYPE, Accept="application/json", Body=data
        )
        probabilities = parse_probabilities(response["Body"].read(), config.classes)
    except (ClientError, InvalidPredictionError) as error:
        raise OpsError(f"endpoint {config.endpoint_name} did not classify {key}: {error}") from None
    label, confidence = best_class(probabilities)
    return Response(key, true_class, config.classes[label], confidence, 1000 * (time.perf_counter() - started))


def _classify(state_machine_arn: str, bucket: str, key: str) -> None:
    """One execution, followed to its end; raises OpsError unless it succeeds."""
    stepfunctions = aws.stepfunctions()
    execution = stepfunctions.start_execution(
        stateMachineArn=state_machine_arn,
        name=f"smoke-{uuid.uuid4()}",
        input=json.dumps({"image_data": "", "s3_bucket": bucket, "s3_key": key}),
    )["executionArn"]
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        described = stepfunctions.describe_execution(executionArn=execution)
        if described["status"] == "SUCCEEDED":
            return
        if described["status"] != "RUNNING":
            error, cause = described.get("error", described["status"]), described.get("cause", "")
            raise OpsError(f"the workflow did not classify {key}: {error}: {cause} ({execution})")
        time.sleep(_POLL_SECONDS)
    raise OpsError(f"the workflow did not end within {_TIMEOUT_SECONDS} s: {execution}")


def show(config: EnvironmentConfig, responses: list[Response]) -> None:
    """Print two lines about a successful smoke test."""
    correct = sum(response.label == response.true_class for response in responses)
    slowest = max(response.milliseconds for response in responses)
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"[green]✓[/] endpoint {config.endpoint_name}: {correct} of {len(responses)} test images correct, "
        f"the slowest response took {slowest:.0f} ms"
    )
    best = max(responses, key=lambda response: response.confidence)
    if is_accepted(best.confidence, config.confidence_threshold):
        console.print(f"[green]✓[/] workflow: {best.key} accepted with confidence {best.confidence:.3f}")
    else:
        console.print(
            f"[yellow]![/] workflow: not tried, no prediction reached the confidence of {config.confidence_threshold}"
        )


def smoke(
    env: EnvironmentName = "dev",
) -> None:
    """Send a handful of test images to the live endpoint and one through the workflow."""
    config = load_environment(env)
    show(config, smoke_test(config))
