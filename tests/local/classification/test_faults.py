"""Under every fault, every image ends in exactly one recorded outcome, and nothing but that image is affected.

The images are in image_cases.py, what is checked after each execution in outcome_check.py.
"""

import contextlib
import json
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.cloud import LocalCloud
from local.demonstration import Environment, Execution, Inbox, wait_for
from stacks.classification.limits import MAX_OUTCOME_BYTES
from stacks.config import load_environment
from stacks.shared import prefixes
from tests.local.classification.image_cases import (
    ANSWERS,
    CASES,
    ENDPOINT,
    EXHAUSTING,
    GOOD,
    ITEMS,
    KEYS,
    MISSING,
    OBJECTS,
    ImageCase,
    PlacedImage,
    place,
)
from tests.local.classification.outcome_check import MAX_STATE_BYTES, check_outcomes, contents, expected_keys
from tests.local.conftest import use

Run = Callable[[Sequence[ImageCase]], Execution]


class Mailbox:
    """Sorts what the topic publishes by the execution that it is about."""

    def __init__(self, environment: Environment) -> None:
        self._inbox = Inbox(environment.alert_topic_arn)
        self._messages: list[dict[str, str]] = []

    def digests(self, execution: Execution) -> list[dict[str, str]]:
        """Of a failed execution at least one is waited for."""

        def arrived() -> list[dict[str, str]] | None:
            while received := self._inbox.messages():
                self._messages += received
            found = [message for message in self._messages if execution.arn in message["Message"]]
            return found if found or execution.status == "SUCCEEDED" else None

        return wait_for(arrived, f"the digest of {execution.arn}")


@pytest.fixture(scope="module")
def deployed(cloud: LocalCloud) -> Iterator[Environment]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(cloud, monkeypatch)
        environment = Environment.deployed(load_environment("dev"))
        before = set(environment.keys(prefixes.TEST))
        yield environment
        # Traffic of later tests is drawn from all that lies below test/
        for key in set(environment.keys(prefixes.TEST)) - before:
            boto3.client("s3").delete_object(Bucket=environment.bucket, Key=key)


@pytest.fixture(scope="module")
def good(deployed: Environment, confident_images: list[str]) -> bytes:
    return boto3.client("s3").get_object(Bucket=deployed.bucket, Key=confident_images[0])["Body"].read()


@pytest.fixture(scope="module")
def mailbox(deployed: Environment) -> Mailbox:
    return Mailbox(deployed)


@pytest.fixture(scope="module")
def run(
    deployed: Environment,
    cloud: LocalCloud,
    mailbox: Mailbox,
    good: bytes,
    exhausting: tuple[str, list[PlacedImage]],
) -> Run:
    """Place the images, classify them in one execution, and check everything that must hold afterwards."""

    def place_classify_and_check(cases: Sequence[ImageCase]) -> Execution:
        images = place(deployed, cloud, cases, good=good, folder=f"test/{uuid.uuid4().hex}")
        before = contents(deployed)
        execution = deployed.execute({"images": [image.item for image in images]})
        check_outcomes(
            deployed,
            cloud,
            execution,
            images,
            before=before,
            digests=mailbox.digests(execution),
            beside=expected_keys(*exhausting),
        )
        return execution

    return place_classify_and_check


@pytest.fixture(scope="module", autouse=True)
def exhausting(
    deployed: Environment, cloud: LocalCloud, mailbox: Mailbox, good: bytes
) -> tuple[str, list[PlacedImage]]:
    """An execution that takes most of a minute, begun before the other tests, looked at after them."""
    images = place(deployed, cloud, EXHAUSTING, good=good, folder=f"test/{uuid.uuid4().hex}")
    arn = boto3.client("stepfunctions").start_execution(
        stateMachineArn=deployed.state_machine_arn, input=json.dumps({"images": [image.item for image in images]})
    )["executionArn"]
    return arn, images


@pytest.mark.parametrize(
    "cases", [OBJECTS, KEYS, ENDPOINT, ANSWERS, ITEMS], ids=["objects", "keys", "endpoint", "answers", "items"]
)
def test_each_kind_of_image_between_good_ones(run: Run, cases: list[ImageCase]) -> None:
    run([image for case in cases for image in (GOOD, case)])


def test_all_kinds_at_once(run: Run) -> None:
    run(CASES)


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases=st.lists(st.sampled_from(CASES), max_size=40))
def test_any_mix_of_any_length(run: Run, cases: list[ImageCase]) -> None:
    run(cases)


def test_an_object_of_200_megabytes_costs_one_request_and_no_memory(run: Run, environment: Environment) -> None:
    huge = ImageCase("200 MB", "FAILED", "ImageTooLargeError", stored=lambda _: bytes(200_000_000), requests=0)
    execution = run([GOOD, huge, GOOD])
    outcome = execution.manifest["outcomes"][1]
    boto3.client("s3").delete_object(Bucket=environment.bucket, Key=outcome["s3_key"])


# Lists


@pytest.mark.parametrize("length", [0, 1, 500])
def test_a_list_of_any_allowed_length(run: Run, length: int) -> None:
    good = min(length, 20)
    run([MISSING] * (length - good) + [GOOD] * good)


def test_500_images_with_long_keys_fit_through_the_state(environment: Environment) -> None:
    """The longest list that the workflow takes still ends with a manifest and not with an error of its own."""

    def items(padding: str) -> list[dict[str, str]]:
        return [{"s3_bucket": environment.bucket, "s3_key": f"test/{padding}{number:04}.png"} for number in range(500)]

    def is_taken(length: int) -> bool:
        text = json.dumps(items("k" * length), separators=(",", ":"))
        return 2 * len(text) + 250 * 500 <= MAX_OUTCOME_BYTES

    longest = max(length for length in range(200) if is_taken(length))
    execution = environment.execute({"images": items("k" * longest)})
    assert execution.counts == {"ACCEPTED": 0, "REJECTED": 0, "WAITING": 0, "FAILED": 500}
    assert len(json.dumps(execution.manifest).encode()) < MAX_STATE_BYTES
    refused = environment.execute({"images": items("k" * (longest + 20))})
    assert (refused.status, refused.error) == ("FAILED", "TooManyImagesError")


def test_an_image_that_is_named_twice_has_two_outcomes_and_one_prediction(
    environment: Environment, confident_images: list[str]
) -> None:
    key = confident_images[0]
    execution = environment.classify([key, confident_images[1], key])
    assert [outcome["s3_key"] for outcome in execution.manifest["outcomes"]] == [key, confident_images[1], key]
    assert execution.counts == {"ACCEPTED": 3, "REJECTED": 0, "WAITING": 0, "FAILED": 0}
    (prediction,) = {o["prediction_key"] for o in execution.manifest["outcomes"] if o["s3_key"] == key}
    assert versions(environment, prediction) == 1


def test_the_same_event_delivered_again_and_at_once_changes_nothing(environment: Environment, good: bytes) -> None:
    s3 = boto3.client("s3")
    key = f"incoming/{uuid.uuid4().hex}.png"
    first = environment.classify_upload(key.removeprefix("incoming/"), good)
    event = json.loads(boto3.client("stepfunctions").describe_execution(executionArn=first.arn)["input"])
    prediction = first.manifest["outcomes"][0]["prediction_key"]
    stored = s3.get_object(Bucket=environment.bucket, Key=prediction)["Body"].read()

    again = [start(environment, event) for _ in range(8)]
    executions = [environment.follow(arn) for arn in again]
    assert {execution.status for execution in executions} == {"SUCCEEDED"}
    for execution in executions:
        assert execution.manifest["outcomes"] == first.manifest["outcomes"]
    assert versions(environment, prediction) == 1
    assert s3.get_object(Bucket=environment.bucket, Key=prediction)["Body"].read() == stored


@pytest.mark.parametrize("execution_input", ["text", 7, None, True, [], {}, [[]], {"images": None}, {"images": {}}])
def test_input_without_a_list_of_images_fails_loudly(environment: Environment, execution_input: Any) -> None:
    execution = environment.execute(execution_input)
    if execution_input == []:  # a list of no images, as {"images": []}
        assert execution.status == "SUCCEEDED"
    else:
        assert execution.status == "FAILED"
        assert execution.error in {"InvalidInputError", "InferencesFailed"}
    for outcome in execution.manifest.get("outcomes", []):
        assert (outcome["outcome"], outcome["error"]) == ("FAILED", "InvalidInputError")


def test_half_a_character_in_a_key_fails_that_image_only(environment: Environment, confident_images: list[str]) -> None:
    execution = environment.classify([confident_images[0], "test/\ud800.png"])
    assert execution.counts == {"ACCEPTED": 1, "REJECTED": 0, "WAITING": 0, "FAILED": 1}
    assert execution.manifest["outcomes"][1]["error"] == "InvalidInputError"


def test_a_refused_listing_is_reported_and_fails_the_execution(environment: Environment, mailbox: Mailbox) -> None:
    execution = environment.execute({"s3_bucket": "another-bucket", "s3_prefix": "scheduled/"})
    assert execution.status == "FAILED"
    (message,) = mailbox.digests(execution)
    assert "workflow broken" in message["Subject"]


# Faults that last until nothing is left to try


def test_a_request_without_a_response_fails_after_the_defined_attempts(
    exhausting: tuple[str, list[PlacedImage]], environment: Environment, cloud: LocalCloud, mailbox: Mailbox
) -> None:
    arn, images = exhausting
    execution = environment.follow(arn)
    written = expected_keys(arn, images)
    before = {version: etag for version, etag in contents(environment).items() if version[0] not in written}
    check_outcomes(environment, cloud, execution, images, before=before, digests=mailbox.digests(execution))


# Faults of the environment itself: these come last, as they meet every execution that runs meanwhile


def start(environment: Environment, execution_input: Any) -> str:
    return boto3.client("stepfunctions").start_execution(
        stateMachineArn=environment.state_machine_arn, input=json.dumps(execution_input)
    )["executionArn"]


def versions(environment: Environment, key: str) -> int:
    answer = boto3.client("s3").list_object_versions(Bucket=environment.bucket, Prefix=key)
    return len(answer["Versions"])


@contextlib.contextmanager
def denied(role: str, action: str) -> Iterator[None]:
    """Takes a right from the one role whose construct has this name."""
    iam = boto3.client("iam")
    (name,) = [r["RoleName"] for r in iam.list_roles(MaxItems=1000)["Roles"] if f"-{role}" in r["RoleName"]]
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=name, PolicyName="Fault", PolicyDocument=document)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="Fault")


def test_a_predictions_prefix_that_is_not_writable_fails_every_image_by_name(run: Run) -> None:
    case = ImageCase("not stored", "FAILED", "PredictionNotStoredError")
    with denied("FilterConfidenceRole", "s3:PutObject"):
        run([case, case])


def test_a_topic_that_refuses_hides_neither_manifest_nor_verdict(
    environment: Environment, cloud: LocalCloud, good: bytes
) -> None:
    images = place(environment, cloud, [GOOD, MISSING], good=good, folder=f"test/{uuid.uuid4().hex}")
    before = contents(environment)
    with denied("ClassificationWorkflowRole", "sns:Publish"):
        execution = environment.execute({"images": [image.item for image in images]})
    assert (execution.status, execution.error) == ("FAILED", "InferencesFailed")
    assert execution.counts == {"ACCEPTED": 1, "REJECTED": 0, "WAITING": 0, "FAILED": 1}
    assert len(contents(environment)) == len(before) + 2


def test_a_manifest_that_cannot_be_written_is_reported_and_fails_the_execution(
    environment: Environment, mailbox: Mailbox, confident_images: list[str]
) -> None:
    with denied("ClassificationWorkflowRole", "s3:PutObject"):
        execution = environment.classify(confident_images[:1])
    assert execution.status == "FAILED"
    assert not execution.manifest
    (message,) = mailbox.digests(execution)
    assert "workflow broken" in message["Subject"]


def test_a_function_that_may_not_be_invoked_fails_its_images_and_no_others(run: Run) -> None:
    refused = ImageCase("not invoked", "FAILED", "Lambda.AWSLambdaException", requests=0)
    with denied("ClassificationWorkflowRole", "lambda:InvokeFunction"):
        run([refused])
    run([GOOD, MISSING])


def test_an_endpoint_that_refuses_connections_fails_every_image_by_name(environment: Environment, run: Run) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with function_environment("Classifier", AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=address):
            run([ImageCase("refused", "FAILED", "EndpointUnavailableError", requests=0)] * 2)
    run([GOOD])


@contextlib.contextmanager
def function_environment(function: str, **variables: str) -> Iterator[None]:
    client = boto3.client("lambda")
    (name,) = [f["FunctionName"] for f in client.list_functions()["Functions"] if f"-{function}" in f["FunctionName"]]
    original = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {**original, **variables}})
    try:
        yield
    finally:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": original})
