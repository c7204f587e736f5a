"""Pause and resume, run state by state: interrupted anywhere and repeated, and run concurrently."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ministack.services import stepfunctions

from lambda_src.shared.pause import KEY
from tests.infrastructure.conftest import definition_of, template_of

Execution = Iterator[str]


class World:
    """A simulation of AWS for the state machine. An update of the stack ends after two DescribeStacks calls."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.definition = definition
        self.parameters = {"EndpointPaused": "false", "EndpointExists": "true", "BootstrapVersion": "/version"}
        self.update: dict[str, str] = {}
        self.describes_left = 0
        self.endpoint_exists = True
        self.objects: dict[str, str] = {}
        self.classified: list[str] = []
        self.classifications: set[str] = set()
        self.notified: list[str] = []

    @property
    def pause(self) -> dict[str, Any] | None:
        """The last pause, as it is recorded."""
        return json.loads(self.objects[KEY]) if KEY in self.objects else None

    @property
    def is_paused(self) -> bool:
        return self.pause is not None and "resumed_at" not in self.pause

    def upload(self, image: str) -> None:
        """Classify an image as Classifier does: invoke the endpoint, or record that the image waits."""
        if self.endpoint_exists:
            self.classified.append(image)
        elif self.pause and self.is_paused:
            digits = "".join(filter(str.isdigit, self.pause["paused_at"]))
            self.objects[f"waiting/{digits}/null/{image}"] = ""

    def start(self, action: str) -> Execution:
        """An execution, which enters its next state each time that it is asked for it; the last is how it ended."""
        states, name, state_input = self.definition["States"], self.definition["StartAt"], {"action": action}
        while True:
            yield name
            state = states[name]
            if state["Type"] in {"Succeed", "Fail"}:
                return
            context = {"QueryLanguage": "JSONata", "Execution": {"Id": "arn:execution"}, "State": {}, "variables": {}}
            run: Callable[..., Any] = getattr(stepfunctions, f"_execute_{state['Type'].lower()}")
            execution: list[Any] = [{"events": []}] if state["Type"] == "Task" else []
            state_input, name = run(state, state_input, *execution, context)

    def call(self, resource: str, request: dict[str, Any]) -> Any:
        """One request of a state."""
        operation = resource.rpartition(":")[2]
        return getattr(self, f"_{operation}")(request)

    def _listExecutions(self, _: dict[str, Any]) -> Any:  # noqa: N802 - AWS's names
        return {"Executions": []}

    def _describeStacks(self, _: dict[str, Any]) -> Any:  # noqa: N802
        self.describes_left = max(0, self.describes_left - 1)
        if self.update and not self.describes_left:
            self.parameters |= self.update
            self.update = {}
            self.endpoint_exists = self.parameters["EndpointPaused"] == "false"
        status = "UPDATE_IN_PROGRESS" if self.update else "UPDATE_COMPLETE"
        parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in (self.parameters | self.update).items()]
        return {"Stacks": [{"StackStatus": status, "Parameters": parameters}]}

    def _updateStack(self, request: dict[str, Any]) -> Any:  # noqa: N802
        if self.update:
            raise refusal("CloudFormation.CloudFormationException", "Stack:arn is in UPDATE_IN_PROGRESS state")
        assert {p["ParameterKey"] for p in request["Parameters"]} == set(self.parameters)
        update = {p["ParameterKey"]: p["ParameterValue"] for p in request["Parameters"] if "ParameterValue" in p}
        if update["EndpointPaused"] == self.parameters["EndpointPaused"]:
            raise refusal("CloudFormation.CloudFormationException", "No updates are to be performed.")
        self.update, self.describes_left = update, 2
        return {"StackId": "arn"}

    def _describeEndpoint(self, _: dict[str, Any]) -> Any:  # noqa: N802
        if not self.endpoint_exists:
            raise refusal("SageMaker.SageMakerException", 'Could not find endpoint "scones-dev".')
        return {"EndpointStatus": "InService"}

    def _getObject(self, request: dict[str, Any]) -> Any:  # noqa: N802
        if request["Key"] not in self.objects:
            raise refusal("S3.NoSuchKeyException", "The specified key does not exist.")
        return {"Body": self.objects[request["Key"]]}

    def _putObject(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self.objects[request["Key"]] = json.dumps(request["Body"])
        return {"ETag": "etag"}

    def _listObjectsV2(self, request: dict[str, Any]) -> Any:  # noqa: N802
        found = [{"Key": key} for key in self.objects if key.startswith(request["Prefix"])]
        return {"Contents": found} if found else {}

    def _startExecution(self, request: dict[str, Any]) -> Any:  # noqa: N802
        if request["Name"] in self.classifications:
            raise refusal("StepFunctions.ExecutionAlreadyExistsException", "Execution Already Exists")
        self.classifications.add(request["Name"])
        prefix = request["Input"]["s3_prefix"]
        self.classified += [key.rpartition("/")[2] for key in self.objects if key.startswith(prefix)]
        return {"ExecutionArn": "arn"}

    def _publish(self, request: dict[str, Any]) -> Any:
        self.notified.append(request["Subject"])
        return {"MessageId": "1"}


def refusal(error: str, cause: str) -> Exception:
    made: Exception = stepfunctions._ExecutionError(error, cause)
    return made


def end_of(execution: Execution) -> str:
    """The state in which it ends."""
    return list(execution)[-1]


@pytest.fixture
def world(assembly: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    machine = template_of(assembly, "dev", "Model").only("AWS::StepFunctions::StateMachine")
    world = World(definition_of(machine))
    monkeypatch.setattr(stepfunctions, "_invoke_resource_with_timeout", lambda r, request, _: world.call(r, request))
    monkeypatch.setattr(stepfunctions, "_scaled_sleep", lambda _: None)
    return world


@pytest.mark.parametrize("stopped", ["pause", "resume"])
def test_an_execution_stopped_in_any_state_and_repeated_ends_as_if_uninterrupted(world: World, stopped: str) -> None:
    uploaded: list[str] = []

    def upload() -> None:
        uploaded.append(f"{len(uploaded)}.png")
        world.upload(uploaded[-1])

    def run(action: str, states: int | None) -> int:
        """How many states it entered, one upload after each; it is stopped after `states` of them, and repeated."""
        entered = 0
        for _ in world.start(action):
            upload()
            entered += 1
            if entered == states:
                since = world.pause if world.is_paused else None
                assert end_of(world.start(action)) == f"{action.capitalize()}d", states
                assert since is None or world.pause is None or world.pause["paused_at"] == since["paused_at"]
                break
        return entered

    longest = {"pause": run("pause", None), "resume": run("resume", None)}
    assert min(longest.values()) > 10
    for states in range(1, longest[stopped]):
        run("pause", states if stopped == "pause" else None)
        assert world.is_paused
        assert not world.endpoint_exists
        upload()
        run("resume", states if stopped == "resume" else None)
        assert not world.is_paused
        assert world.endpoint_exists
        assert sorted(world.classified) == sorted(uploaded), "each image once, and none lost"
    assert not world.notified


@pytest.mark.parametrize("actions", [("pause", "pause"), ("resume", "resume"), ("pause", "resume")], ids="-".join)
@pytest.mark.parametrize("is_paused", [False, True], ids=["in service", "paused"])
def test_no_concurrent_executions_leave_an_endpoint_missing_without_a_pause(
    world: World, actions: tuple[str, str], is_paused: bool
) -> None:
    """In any order of their states, and uploads wait whenever the endpoint does not exist."""
    for seed in range(6):
        if is_paused:
            assert end_of(world.start("pause")) == "Paused"
        ended = interleaved(world, actions, random.Random(seed))
        if actions[0] == actions[1]:
            assert set(ended) == {f"{actions[0].capitalize()}d"}
        assert world.endpoint_exists or world.is_paused, (seed, ended)
        assert end_of(world.start("resume")) == "Resumed"
        assert world.endpoint_exists
        assert not world.is_paused


def interleaved(world: World, actions: tuple[str, str], order: random.Random) -> list[str]:
    """How executions end whose states are entered in some order, and the update of one that did not wait for it."""
    running = dict(enumerate(map(world.start, actions)))
    entered = [""] * len(actions)
    while running:
        index = order.choice(list(running))
        state = next(running[index], None)
        if state is None:
            del running[index]
        else:
            entered[index] = state
    while world.update:
        world.call("describeStacks", {})
    return entered
