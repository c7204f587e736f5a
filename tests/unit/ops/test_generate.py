"""Test cases and plans of traffic, in an account in this process. tests/local executes them."""

import json
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from ops import aws, generate
from ops.aws import Deployment
from ops.errors import OpsError
from ops.traffic import carry_out, follower
from ops.traffic.plan import Plan, Run, choose, true_classes
from tests.unit.ops.conftest import run
from tests.unit.stored import create_bucket, place

BUCKET = "scones"
STATE_MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:none"
Output = pytest.CaptureFixture[str]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A deployed environment with twelve test images; its state machine is gone."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        create_bucket(BUCKET)
        for number in range(12):
            place(BUCKET, f"test/{number:02}.png", b"pixels" * 20)
        lines = "".join(f"{number}\t{number % 2}\t{number:02}.png\n" for number in range(12))
        place(BUCKET, "test_lst/test.lst", lines)
        place(BUCKET, "test/notes.txt", b"")
        deployment = Deployment(bucket=BUCKET, state_machine_arn=STATE_MACHINE)
        monkeypatch.setattr(aws, "deployment", lambda _: deployment)
        monkeypatch.setattr(aws, "bucket", lambda _: BUCKET)
        yield BUCKET


def test_a_case_has_the_originals_form_and_depends_on_the_seed(bucket: str, capsys: Output) -> None:
    cases: list[dict[str, Any]] = []
    for seed in (1, 1, 2, 3):
        assert run("generate", "case", "--seed", seed) == 0
        cases.append(json.loads(capsys.readouterr().out))
    assert cases[0] == cases[1]
    assert len({case["s3_key"] for case in cases}) > 1
    assert set(cases[0]) == {"image_data", "s3_bucket", "s3_key"}
    assert (cases[0]["image_data"], cases[0]["s3_bucket"]) == ("", BUCKET)
    assert cases[0]["s3_key"].startswith("test/")
    assert cases[0]["s3_key"].endswith(".png")


def test_a_batch_repeats_no_image_before_all_were_taken(bucket: str, capsys: Output) -> None:
    assert run("generate", "batch", "-n", 30, "--seed", 1) == 0
    keys = [item["s3_key"] for item in json.loads(capsys.readouterr().out)["images"]]
    assert len(keys) == 30
    assert len(set(keys[:12])) == len(set(keys[12:24])) == 12


def test_a_batch_is_no_larger_than_an_execution_accepts(bucket: str, capsys: Output) -> None:
    assert run("generate", "batch", "-n", generate.MAX_BATCH + 1) == 2


def test_the_error_for_a_bucket_without_test_images_names_the_command_to_run(bucket: str, capsys: Output) -> None:
    for number in range(12):
        aws.s3().delete_object(Bucket=BUCKET, Key=f"test/{number:02}.png")
    assert run("generate", "case") == 1
    assert "has no images: run `python -m data_prep upload` first" in capsys.readouterr().err


def test_true_classes_come_from_the_list(bucket: str) -> None:
    assert true_classes(BUCKET, ("bicycle", "motorcycle"))["test/03.png"] == "motorcycle"
    aws.s3().delete_object(Bucket=BUCKET, Key="test_lst/test.lst")
    with pytest.raises(OpsError, match="send without --label"):
        true_classes(BUCKET, ("bicycle", "motorcycle"))


def test_images_that_cannot_be_sent_are_counted_and_fail_the_command(bucket: str, capsys: Output) -> None:
    ended = run("generate", "stream", "--rate", 50, "--duration", "0.2s", "--settle", "1s", "--seed", 1, "--json")
    assert ended == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["sent"], summary["not_sent"], summary["unfinished"]) == (0, 10, 0)
    assert "StateMachineDoesNotExist" in next(error for error in summary["errors"] if error.startswith("not sent"))


def test_uploads_are_named_after_the_run_and_labelled(bucket: str, capsys: Output) -> None:
    run("generate", "stream", "--rate", 50, "--duration", "0.2s", "--settle", "0s", "--via", "uploads", "--label",
        "--seed", 1)  # fmt: skip
    shown = capsys.readouterr().out
    name = shown.partition(",")[0]
    assert "no outcome yet: 10" in shown
    assert f"incoming/{name}/3.png  unknown: the listing failed" in shown
    listing = aws.s3().list_objects_v2(Bucket=BUCKET, Prefix="incoming/")["Contents"]
    assert {entry["Key"] for entry in listing} == {f"incoming/{name}/{number}.png" for number in range(10)}
    (labels,) = aws.s3().list_objects_v2(Bucket=BUCKET, Prefix="ground-truth/")["Contents"]
    lines = aws.s3().get_object(Bucket=BUCKET, Key=labels["Key"])["Body"].read().splitlines()
    assert {json.loads(line)["s3_key"] for line in lines} == {entry["Key"] for entry in listing}
    assert {json.loads(line)["label"] for line in lines} == {"bicycle", "motorcycle"}


def test_an_interruption_while_sending_ends_it_with_the_truth(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(classes=("bicycle", "motorcycle"), images=1000, rate=100, seed=1, via="uploads")
    naps = 0

    def nap(_seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 20:
            raise KeyboardInterrupt

    # On a clock that stands still every image waits for its time
    monkeypatch.setattr("ops.traffic.sender.time", SimpleNamespace(monotonic=lambda: 0.0, sleep=nap))
    tally = carry_out(Run(plan, Deployment(BUCKET, STATE_MACHINE)), settle_seconds=0)
    assert 0 < tally.sent < 1000
    assert tally.not_sent == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--drift", "darker", "--via", "executions"], "must be uploaded"),
        (["--batch", "20", "--via", "uploads"], "needs --via executions"),
        (["--batch", "20", "--drift", "other"], "needs --via executions"),
        (["--duration", "soon"], "'soon' is no duration"),
        (["--rate", "0"], "greater than or equal to 0.01"),
        (["--bad", "1.5"], "less than or equal to 1"),
        (["--drift", "brighter"], "brighter"),
    ],
)
def test_plans_that_make_no_sense(arguments: list[str], reason: str, capsys: Output) -> None:
    assert run("generate", "stream", *arguments) == 2
    assert reason in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_choosing_from_few() -> None:
    assert sorted(choose(["a", "b"], 5, random.Random(0))[:4]) == ["a", "a", "b", "b"]


@pytest.fixture
def ending_at_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A state machine whose executions end as soon as they start, and leave `outcomes` as their manifest."""
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.01)
    client, manifest = aws.stepfunctions(), {"outcomes": [{"outcome": "REJECTED"}, {"outcome": "ACCEPTED"}]}
    arn = client.create_state_machine(
        name="workflow",
        definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        roleArn="arn:aws:iam::123456789012:role/workflow",
    )["stateMachineArn"]

    def end(parsed: dict[str, Any], **_: object) -> None:
        if manifest:
            key = f"manifests/{parsed['executionArn'].rpartition(':')[2]}.json"
            place(BUCKET, key, json.dumps(manifest))
        client.stop_execution(executionArn=parsed["executionArn"])

    client.meta.events.register("after-call.sfn.StartExecution", end)
    yield {"arn": arn, "manifest": manifest}
    client.meta.events.unregister("after-call.sfn.StartExecution", end)


def follow(arn: str, images: int, batch: int) -> dict[str, Any]:
    plan = Plan(classes=("bicycle", "motorcycle"), images=images, rate=100, seed=1, via="executions", batch=batch)
    return carry_out(Run(plan, Deployment(BUCKET, arn)), settle_seconds=20).as_dict()


def test_outcomes_of_a_failed_execution_are_those_of_its_manifest(ending_at_once: dict[str, Any]) -> None:
    summary = follow(ending_at_once["arn"], 6, 2)
    assert (summary["sent"], summary["accepted"], summary["rejected"], summary["failed"]) == (6, 3, 3, 0)


def test_an_execution_without_manifest_has_failed(ending_at_once: dict[str, Any]) -> None:
    ending_at_once["manifest"].clear()
    summary = follow(ending_at_once["arn"], 3, 1)
    assert (summary["failed"], summary["errors"]) == (3, {"execution ABORTED": 3})


def test_a_look_that_fails_is_made_up_for(ending_at_once: dict[str, Any]) -> None:
    breaks = ["first", "second"]

    def break_connection(**_: object) -> None:
        if breaks:
            breaks.pop()
            raise EndpointConnectionError(endpoint_url="https://s3")

    events = aws.s3().meta.events
    events.register("before-call.s3.GetObject", break_connection)
    try:
        summary = follow(ending_at_once["arn"], 4, 2)
    finally:
        events.unregister("before-call.s3.GetObject", break_connection)
    assert breaks == []
    assert (summary["accepted"], summary["rejected"], summary["unfinished"]) == (2, 2, 0)
    assert sum(summary["errors"].values()) == 2
