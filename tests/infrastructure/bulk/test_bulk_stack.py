"""The rendered bulk workflows, including the parts that the emulator does not run."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ministack.services import stepfunctions

from stacks.config import load_environment
from tests.conftest import LONGEST_NAME
from tests.infrastructure.classification.test_workflow_stack import STEPS, grants
from tests.infrastructure.conftest import LONGEST_BOUNDED_NAME, VARIANTS, Template, definition_of, template_of, text

MAPS = {
    "ClassifyPrefix": ("listObjectsV2", None),
    "ClassifyCsv": ("getObject", {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}),
    "ClassifyJsonLines": ("getObject", {"InputType": "JSONL"}),
    "ClassifyInventory": ("getObject", {"InputType": "MANIFEST"}),
}


def workflow(bulk: Template, name: str) -> dict[str, Any]:
    return definition_of(bulk.named("AWS::StepFunctions::StateMachine", name))


@pytest.fixture
def distributed_map(bulk: Template) -> dict[str, Any]:
    return workflow(bulk, "DistributedMap")


@pytest.fixture
def batch_transform(bulk: Template) -> dict[str, Any]:
    return workflow(bulk, "BatchTransform")


@pytest.mark.parametrize("name", MAPS)
def test_each_source_is_read_batched_bounded_and_written(
    distributed_map: dict[str, Any], environment: str, name: str
) -> None:
    config = load_environment(environment)
    state = distributed_map["States"][name]
    resource, reader = MAPS[name]
    assert state["ItemReader"]["Resource"].endswith(f":s3:{resource}")
    assert state["ItemReader"].get("ReaderConfig") == reader
    assert state["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}
    assert state["ItemBatcher"] == {"MaxItemsPerBatch": config.bulk_batch_size}
    images = state["ItemProcessor"]["States"][f"Images ({name})"]
    assert state["MaxConcurrency"] * images["MaxConcurrency"] == config.bulk_concurrency
    assert state["ToleratedFailurePercentage"] == 10
    assert state["ResultWriter"]["WriterConfig"] == {"OutputType": "JSONL", "Transformation": "FLATTEN"}
    assert state["ResultWriter"]["Arguments"]["Prefix"].startswith(
        "{% 'manifests/' & $states.context.Execution.Name & '/'"
    )
    assert state["Next"] == "Summarize"
    assert [clause["Next"] for clause in state["Catch"]] == ["Summarize", "NotifyWorkflowBroken"]


def without_names(states: dict[str, Any], suffix: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(json.dumps(states).replace(suffix, ""))
    return parsed


@pytest.mark.parametrize("name", MAPS)
def test_a_batch_runs_the_inline_workflows_own_steps_for_each_image(
    distributed_map: dict[str, Any], definition: dict[str, Any], name: str
) -> None:
    children = distributed_map["States"][name]["ItemProcessor"]
    assert children["StartAt"] == f"Start ({name})"
    assert children["States"][f"Start ({name})"]["Next"] == f"FindPredictions ({name})"
    assert children["States"][f"FindPredictions ({name})"]["Catch"][0]["Next"] == f"Images ({name})"
    bulk = without_names(children["States"][f"Images ({name})"]["ItemProcessor"]["States"], f" ({name})")
    inline = copy.deepcopy(definition["States"]["ClassifyImages"]["ItemProcessor"]["States"])
    assert {choice["Next"] for choice in bulk.pop("InTime?")["Choices"]} == {STEPS[0]}
    del bulk["OutOfTime"]
    for states in (bulk, inline):
        for step in STEPS:
            states[step]["Arguments"]["FunctionName"] = "the same, checked below"
            del states[step]["Retry"]  # a batch has less time, so it retries less: test_limits.py
    assert bulk == inline


def test_both_workflows_call_the_inline_workflows_functions(bulk: Template) -> None:
    own = {"FindPredictions", "ReadTransformOutput", "BulkSummary"}
    functions = bulk.resources("AWS::Lambda::Function")
    assert {re.sub(r"[0-9A-F]{8}$", "", name) for name in functions} == own
    (invoked,) = [arns for actions, arns in grants(bulk, "DistributedMapRole") if actions == ["lambda:InvokeFunction"]]
    assert len(invoked) == len(STEPS) + 2
    for step in STEPS:
        assert sum(step in arn for arn in invoked) == 1


def test_batch_transform_classifies_images_on_its_own_instances(
    batch_transform: dict[str, Any], environment: str
) -> None:
    transform = batch_transform["States"]["TransformImages"]
    assert transform["Resource"].endswith(":sagemaker:createTransformJob.sync")
    arguments = transform["Arguments"]
    assert arguments["TransformInput"]["ContentType"] == "application/x-image"
    assert "transforms/" in arguments["TransformOutput"]["S3OutputPath"]
    config = load_environment(environment).bulk
    resources = arguments["TransformResources"]
    assert resources["InstanceType"] == config.transform_instance_type
    assert resources["InstanceCount"] == config.transform_instance_count
    assert transform["Next"] == "WhichPredictions?"
    assert [clause["Next"] for clause in transform["Catch"]] == ["JobFailed"]
    assert batch_transform["States"]["JobFailed"]["Next"] == "WhichPredictions?"


@pytest.mark.parametrize(
    ("name", "execution_input", "data_type", "uri"),
    [
        ("CollectPredictions", {"s3_prefix": "test/a/"}, "S3Prefix", "test/a/"),
        ("CollectListed", {"manifest_key": "bulk/a.manifest"}, "ManifestFile", "bulk/a.manifest"),
    ],
)
def test_batch_transform_accepts_a_prefix_or_a_list(
    batch_transform: dict[str, Any], name: str, execution_input: dict[str, str], data_type: str, uri: str
) -> None:
    source = batch_transform["States"]["TransformImages"]["Arguments"]["TransformInput"]["DataSource"]["S3DataSource"]
    assert evaluated(source, execution_input)["S3DataType"] == data_type
    assert evaluated(source, execution_input)["S3Uri"].partition(">/")[2] == uri
    which = batch_transform["States"]["WhichPredictions?"]
    is_list = evaluated(which["Choices"][0]["Condition"], execution_input)
    assert (which["Choices"][0]["Next"] if is_list else which["Default"]) == name
    images = batch_transform["States"][name]["ItemProcessor"]["States"][f"Images ({name})"]
    steps = ("InTime?", "OutOfTime", "ReadTransformOutput", "FilterConfidence", "Rejected", "Failed")
    assert set(images["ItemProcessor"]["States"]) == {f"{step} ({name})" for step in steps}


def test_batch_transform_uses_the_model_that_the_endpoint_serves(
    bulk: Template, batch_transform: dict[str, Any], environment: str
) -> None:
    states = batch_transform["States"]
    assert states["WhichInput?"]["Choices"][-1]["Next"] == "ReadEndpoint"
    assert states["ReadEndpoint"]["Arguments"] == {"EndpointName": f"scones-{environment}"}
    assert states["ReadEndpoint"]["Next"] == "ReadEndpointConfig"
    assert states["ReadEndpointConfig"]["Next"] == "TransformImages"
    assert states["TransformImages"]["Arguments"]["ModelName"] == "{% $states.input.model %}"
    for name in ("ReadEndpoint", "ReadEndpointConfig"):
        (clause,) = states[name]["Catch"]
        assert clause["Next"] == "NotifyWorkflowBroken"
        assert "ServedModelUnknownError" in clause["Output"]
    described = {
        action: arns
        for actions, arns in grants(bulk, "BatchTransformRole")
        for action in actions
        if action.startswith("sagemaker:DescribeEndpoint")
    }
    assert [arn.rpartition(":")[2] for arn in described["sagemaker:DescribeEndpoint"]] == [
        f"endpoint/scones-{environment}"
    ]
    assert [arn.rpartition(":")[2] for arn in described["sagemaker:DescribeEndpointConfig"]] == ["endpoint-config/*"]


@pytest.mark.parametrize("name", ["DistributedMap", "BatchTransform"])
def test_executions_of_one_name_have_their_results_apart(bulk: Template, name: str) -> None:
    """A name is free for each state machine, and again after 90 days; a redrive goes on where it was."""
    states = workflow(bulk, name)["States"]
    folders = [state["ResultWriter"]["Arguments"]["Prefix"] for state in states.values() if "ResultWriter" in state]
    read = states["Summarize"]["Arguments"]["Payload"]
    if name == "BatchTransform":
        folders.append(states["TransformImages"]["Arguments"]["TransformOutput"]["S3OutputPath"])
    for folder in folders:
        found = {
            evaluated(folder, {}, Id=f"arn:{machine}:run", StartTime=f"2026-01-0{day}T00:00:00Z", RedriveCount=redrives)
            for machine in "ab"
            for day in (1, 2)
            for redrives in (0, 1)
        }
        assert len(found) == 4
    assert all(
        evaluated(read, {})["results"] == evaluated(folder, {}) for folder in folders if "transforms" not in folder
    )


def evaluated(template: Any, execution_input: dict[str, Any], *, redrives: int = 0, **context: Any) -> Any:
    """What a state makes of its input, in an execution that was redriven so often."""
    execution = {
        "Id": "arn:run",
        "Name": "0b5ad2a8-53c5-4a53-a3c9-a4a0c45a0fbd",
        "StartTime": "2026-01-01T00:00:00Z",
        "RedriveCount": redrives,
        "Input": execution_input,
        **context,
    }
    return stepfunctions._apply_jsonata_template(template, execution_input, {"Execution": execution})


@pytest.mark.parametrize("name", ["DistributedMap", "BatchTransform"])
def test_a_redrive_of_an_aborted_run_repeats_a_state_with_the_same_input(bulk: Template, name: str) -> None:
    """Names and arguments follow from the input and the execution, never from the time or from chance.

    Those of a batch may: its Express execution starts again as a whole.
    """
    states = workflow(bulk, name)["States"]
    definition = json.dumps([{**state, "ItemProcessor": None} for state in states.values()])
    assert not re.findall(r"\$(?:now|millis|random|uuid|shuffle)\(|EnteredTime|RetryCount", definition)
    redrives = [arns for actions, arns in grants(bulk, f"{name}Role") if "states:RedriveExecution" in actions]
    assert len(redrives) == 1
    assert all(f":execution:<{name}" in arn for arn in redrives[0])


def test_only_the_name_of_a_transform_job_is_new_because_sagemaker_accepts_no_name_twice(
    batch_transform: dict[str, Any],
) -> None:
    arguments = batch_transform["States"]["TransformImages"]["Arguments"]
    first, again = (evaluated(arguments, {"s3_prefix": "test/", "model": "m"}, redrives=n) for n in (0, 1))
    assert first.pop("TransformJobName") != (name := again.pop("TransformJobName"))
    assert len(name) <= 63
    assert first == again


@pytest.mark.parametrize("name", ["DistributedMap", "BatchTransform"])
def test_the_run_ends_with_a_summary_a_message_and_a_verdict(bulk: Template, name: str) -> None:
    states = workflow(bulk, name)["States"]
    assert states["Summarize"]["Next"] == "NotifyOperators"
    assert states["Summarize"]["Catch"][0]["Next"] == "NotifyWorkflowBroken"
    assert states["NotifyOperators"]["Next"] == "AllAccepted?"
    assert states["NotifyOperators"]["Catch"][0]["Next"] == "AllAccepted?"
    assert states["AllAccepted?"]["Default"] == "AnyFailed?"
    assert bulk.named("AWS::Lambda::Function", "BulkSummary")["Timeout"] < states["Summarize"]["TimeoutSeconds"]


@pytest.mark.parametrize("name", ["DistributedMap", "BatchTransform"])
def test_the_state_machine_only_writes_results(bulk: Template, name: str) -> None:
    found = {tuple(actions): arns for actions, arns in grants(bulk, f"{name}Role")}
    writes = {arn for actions, arns in found.items() if "s3:PutObject" in actions for arn in arns}
    assert {arn.partition("/")[2] for arn in writes} == {"manifests/*"}
    for actions, arns in found.items():
        if any(action.startswith("sagemaker:") for action in actions):
            assert all(re.search(r":(transform-job/scones-|endpoint/scones-|endpoint-config/\*$)", arn) for arn in arns)
    machine = bulk.named("AWS::StepFunctions::StateMachine", name)
    assert machine["LoggingConfiguration"]["Level"] == "ERROR"


def test_the_functions_only_reach_what_they_read(bulk: Template) -> None:
    def keys(role: str) -> set[str]:
        return {
            arn.partition("/")[2]
            for actions, arns in grants(bulk, role)
            for arn in arns
            if actions != ["s3:ListBucket"]
        }

    images = {"incoming/*", "scheduled/*", "test/*"}
    assert keys("FindPredictionsRole") == images | {"predictions/*"}
    assert keys("ReadTransformOutputRole") == images | {"transforms/*"}
    assert keys("BulkSummaryRole") == {"manifests/*"}


@pytest.mark.parametrize("environment", [LONGEST_NAME, LONGEST_BOUNDED_NAME])
def test_a_schedule_may_start_a_bulk_workflow(variants: Path, environment: str) -> None:
    workflow = VARIANTS[environment]["schedule"]["workflow"]
    alarms = template_of(variants, environment, "Monitoring").resources("AWS::CloudWatch::Alarm").values()
    assert f"scones-{environment}-undelivered-bulk" in {alarm["AlarmName"] for alarm in alarms}
    assert not template_of(variants, environment, "Workflow").resources("AWS::Scheduler::Schedule")
    rendered = template_of(variants, environment, "Bulk").only("AWS::Scheduler::Schedule")
    assert json.loads(text(rendered["Target"]["Input"])) == {"s3_prefix": "scheduled/"}
    assert workflow.replace("-", "") in text(rendered["Target"]["Arn"]).lower()
