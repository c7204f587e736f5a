"""Each grant of the retraining workflow is needed: one release is run, then each of its steps alone, from the state
that it had, while grants are missing. `make mutate` runs it.
"""

import contextlib
import copy
import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.cloud import LocalCloud
from local.demonstration import Environment, Inbox, UnexpectedError
from local.retraining import DataSet, Retraining
from stacks.config import load_environment
from stacks.shared import prefixes
from tests.local.conftest import use
from tests.local.mutation import assert_each_grant_is_needed

pytestmark = pytest.mark.slow

Step = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def release(cloud: LocalCloud, dataset: Path) -> dict[str, Any]:
    """What each state of a release was given, by its name."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(cloud, monkeypatch)
        environment = Environment.deployed(load_environment("dev"))
        DataSet(environment.bucket, dataset).keep(0.95)
        run = Retraining.deployed(environment).run(force=True)
        assert run.outcome == "Released", (run.states, run.cause)
        pages = boto3.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=run.arn)
        entered = [e["stateEnteredEventDetails"] for p in pages for e in p["events"] if "stateEnteredEventDetails" in e]
    return {state["name"]: json.loads(state["input"]) for state in entered}


@pytest.fixture
def step(retraining: Retraining) -> Iterator[Step]:
    """Runs one state alone and answers its output; raises UnexpectedError if it fails, at once and unnoticed."""
    client = boto3.client("stepfunctions")
    whole = client.describe_state_machine(stateMachineArn=retraining.state_machine_arn)["definition"]

    def run(name: str, state_input: dict[str, Any]) -> dict[str, Any]:
        definition = json.loads(whole)
        state = {
            key: value for key, value in definition["States"][name].items() if key not in {"Next", "Retry", "Catch"}
        }
        definition |= {"StartAt": name, "States": {name: {**state, "End": True}}}
        client.update_state_machine(stateMachineArn=retraining.state_machine_arn, definition=json.dumps(definition))
        done = retraining.run(**state_input)
        if done.status != "SUCCEEDED":
            raise UnexpectedError(f"{name}: {done.error} {done.cause}")
        return done.output

    yield run
    client.update_state_machine(stateMachineArn=retraining.state_machine_arn, definition=whole)


@contextlib.contextmanager
def paused(environment: Environment) -> Iterator[None]:
    """The endpoint is paused, as far as the bucket says."""
    s3 = boto3.client("s3")
    body = json.dumps({"paused_at": "2026-01-26T18:00:00Z"}).encode()
    s3.put_object(Bucket=environment.bucket, Key=prefixes.PAUSE, Body=body)
    try:
        yield
    finally:
        s3.delete_object(Bucket=environment.bucket, Key=prefixes.PAUSE)


def changed(state_input: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {**copy.deepcopy(state_input), **members}


@pytest.fixture
def works(
    release: dict[str, Any], step: Step, environment: Environment, data: DataSet
) -> dict[str, Callable[[], None]]:
    """By function: what it does in a release, and that it did it."""
    s3, ssm = boto3.client("s3"), boto3.client("ssm")
    config = environment.config

    def stored(key: str) -> Any:
        return json.loads(s3.get_object(Bucket=environment.bucket, Key=key)["Body"].read())

    def guard() -> None:
        for _ in range(2):  # the second asks what became of the first
            assert step("RetrainingGuard", {"force": True})["refusal"] == ""
        with paused(environment):
            assert "paused since" in step("RetrainingGuard", {"force": True})["refusal"]

    def validate() -> None:
        run = uuid.uuid4().hex[:8]
        answer = step("ValidateDataSet", changed(release["ValidateDataSet"], run=run))["data"]
        assert answer["train"] > answer["validation"] > 0
        assert len(stored(answer["validation_manifest"])) == answer["validation"] + 1

    def prepare_training() -> None:
        digest = uuid.uuid4().hex * 2
        manifest = {"data_digest": digest, "made_by": "somebody"}
        s3.put_object(Bucket=environment.bucket, Key="manifest.json", Body=json.dumps(manifest).encode())
        given = release["PrepareTraining"]
        answer = step("PrepareTraining", changed(given, data={**given["data"], "data_digest": digest}))["training"]
        assert answer["status"] == "New"
        assert stored(f"{prefixes.MODELS}{answer['job']}/manifest.json") == manifest

    def prepare_evaluation() -> None:
        answer = step("PrepareEvaluation", release["PrepareEvaluation"])["models"]
        assert answer["is_served"]
        assert answer["is_released"]

    def prepare_rollback() -> None:
        answer = step("PrepareRollback", changed(release["PrepareEvaluation"], input={"rollback": True}))["models"]
        assert answer["candidate"]["artifact_uri"] != answer["incumbent"]["artifact_uri"]
        assert not answer["is_released"]

    def evaluate() -> None:
        given = release["EvaluateModels"]
        folder = f"{prefixes.MODELS}{given['models']['candidate']['job']}/"
        before = {name: versions(environment, f"{folder}{name}.json") for name in DOCUMENTS}
        assert step("EvaluateModels", given)["evaluation"]["reasons"] == []
        assert all(versions(environment, f"{folder}{name}.json") == before[name] + 1 for name in DOCUMENTS)

    def smoke_test() -> None:
        step("SmokeTest", release["SmokeTest"])
        unknown = copy.deepcopy(release["SmokeTest"])  # a model that no retraining has evaluated
        unknown["models"]["candidate"]["job"] = "scones-dev-unknown"
        step("SmokeTest", unknown)

    def record() -> None:
        names = (
            config.artifact_parameter,
            config.model_algorithm_parameter,
            config.model_metadata_parameter,
            config.baseline_parameter,
        )
        released = {name: ssm.get_parameter(Name=name)["Parameter"]["Value"] for name in names}
        try:
            for name in names:
                ssm.put_parameter(Name=name, Value="another", Overwrite=True)
            step("RecordRelease", release["RecordRelease"])
            assert {name: ssm.get_parameter(Name=name)["Parameter"]["Value"] for name in names} == released
        finally:
            for name, value in released.items():
                ssm.put_parameter(Name=name, Value=value, Overwrite=True)

    return {
        "RetrainingGuard": guard,
        "ValidateDataSet": validate,
        "PrepareTraining": prepare_training,
        "PrepareEvaluation": prepare_evaluation,
        "PrepareRollback": prepare_rollback,
        "EvaluateModels": evaluate,
        "SmokeTest": smoke_test,
        "RecordRelease": record,
    }


DOCUMENTS = ("predictions", "evaluation", "smoke_test", "baseline")
FUNCTIONS = (
    "RetrainingGuard",
    "ValidateDataSet",
    "PrepareTraining",
    "PrepareEvaluation",
    "PrepareRollback",
    "EvaluateModels",
    "SmokeTest",
    "RecordRelease",
)


def versions(environment: Environment, key: str) -> int:
    return len(boto3.client("s3").list_object_versions(Bucket=environment.bucket, Prefix=key)["Versions"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_grant_of_a_step_is_needed(
    cloud: LocalCloud, function: str, works: dict[str, Callable[[], None]]
) -> None:
    assert_each_grant_is_needed(cloud, f"{function}Role", works[function])


@pytest.mark.parametrize("function", ["ReleaseModel", "RestoreEndpoint"])
def test_every_grant_of_what_moves_the_endpoint_is_needed(
    cloud: LocalCloud, release: dict[str, Any], step: Step, environment: Environment, function: str
) -> None:
    client = boto3.client("sagemaker")
    name = environment.config.endpoint_name

    def settled() -> str:
        """The endpoint config that is served once no update is under way."""
        client.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        return client.describe_endpoint(EndpointName=name)["EndpointConfigName"]

    def moves_there_and_back() -> None:
        before = settled()
        given = {
            "ReleaseModel": changed(release["ReleaseModel"], run=uuid.uuid4().hex[:8]),
            "RestoreEndpoint": release["SmokeTest"],
        }
        after = step(function, given[function])["release"]["endpoint_config"]
        assert settled() == after != before
        client.update_endpoint(EndpointName=name, EndpointConfigName=before)
        assert settled() == before

    assert_each_grant_is_needed(cloud, f"{function}Role", moves_there_and_back)


def test_every_grant_of_the_workflow_is_needed(
    cloud: LocalCloud, release: dict[str, Any], step: Step, works: dict[str, Callable[[], None]], inbox: Inbox
) -> None:
    """Each step that it takes: ten functions, both kinds of jobs, the Model Registry, the endpoint, the topic."""
    served = copy.deepcopy(release["SmokeTest"])
    served["models"]["incumbent"]["endpoint_config"] = served["release"]["endpoint_config"]
    given = {
        **{name: release[name] for name in (*works, "ReleaseModel", "ReadEndpoint") if name in release},
        "RetrainingGuard": {"force": True},
        "PrepareRollback": changed(release["PrepareEvaluation"], input={"rollback": True}),
        "RestoreEndpoint": served,
    }

    def told() -> None:
        inbox.messages()
        step("NotifyReleased", release["NotifyReleased"])
        assert inbox.messages()

    def approved() -> None:
        step("ReadApproval", step("RegisterModel", changed(release["ReleaseModel"], run=uuid.uuid4().hex[:8])))

    def evaluated() -> None:
        step("EvaluateBoth", changed(release["EvaluateBoth"], run=uuid.uuid4().hex[:8]))

    data = step("ValidateDataSet", changed(release["ValidateDataSet"], run=uuid.uuid4().hex[:8]))["data"]

    def trained() -> None:
        untrained = {"training": {"job": f"scones-dev-mutation-{uuid.uuid4().hex[:8]}"}, "data": data}
        step("TrainCandidate", changed(release["PrepareEvaluation"], **untrained))

    steps = [partial(step, name, state_input) for name, state_input in given.items()]
    assert_each_grant_is_needed(cloud, "RetrainingWorkflowRole", *steps, told, approved, evaluated, trained)
