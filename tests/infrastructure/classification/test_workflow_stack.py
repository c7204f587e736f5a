import json
import re
from typing import Any

import pytest
from ministack.services import stepfunctions

from lambda_src.shared import errors
from stacks.classification.upload_event import execution_input
from stacks.config import load_environment
from tests.infrastructure.conftest import Template, text
from tests.unit.ops.conftest import upload_event

STEPS = ("SerializeImageData", "Classifier", "FilterConfidence")


@pytest.fixture
def steps(definition: dict[str, Any]) -> dict[str, Any]:
    states: dict[str, Any] = definition["States"]["ClassifyImages"]["ItemProcessor"]["States"]
    return states


# The functions


@pytest.mark.parametrize("name", STEPS)
def test_a_function_is_small_traced_and_logs_json(workflow: Template, environment: str, name: str) -> None:
    function = workflow.named("AWS::Lambda::Function", name)
    assert (function["Runtime"], function["Architectures"]) == ("python3.14", ["arm64"])
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    logs = workflow.named("AWS::Logs::LogGroup", f"{name}Logs")
    assert logs["RetentionInDays"] == load_environment(environment).log_retention_days


def grants(workflow: Template, role: str) -> list[tuple[list[str], list[str]]]:
    """(actions, resources) of a role, without its own logs and the traces that every function writes."""
    found = []
    for statement in workflow.statements(role):
        actions, resources = statement["Action"], statement["Resource"]
        actions = actions if isinstance(actions, list) else [actions]
        resources = resources if isinstance(resources, list) else [resources]
        if not actions[0].startswith(("logs:", "xray:")):
            found.append((actions, [text(resource) for resource in resources]))
    return found


def test_serialize_image_data_only_reads_images(workflow: Template) -> None:
    (read, list_) = grants(workflow, "SerializeImageDataRole")
    assert read[0] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert {arn.partition("/")[2] for arn in read[1]} == {"incoming/*", "scheduled/*", "test/*"}
    assert list_[0] == ["s3:ListBucket"]
    assert "/" not in list_[1][0]


def test_classifier_only_invokes_this_endpoint_and_records_what_waits_for_it(
    workflow: Template, environment: str
) -> None:
    (invoke, (arn,)), (read, (pause,)), (write, (records,)) = grants(workflow, "ClassifierRole")
    assert invoke == ["sagemaker:InvokeEndpoint"]
    assert arn.endswith(f":endpoint/scones-{environment}")
    assert "*" not in arn
    assert read == ["s3:GetObject"]
    assert pause.endswith("/endpoint/pause.json")
    assert write == ["s3:PutObject"]
    assert records.endswith("/waiting/*")


def test_filter_confidence_only_writes_predictions_and_reads_them(workflow: Template) -> None:
    found = grants(workflow, "FilterConfidenceRole")
    assert [actions for actions, _ in found] == [["s3:PutObject"], ["s3:GetObject"]]
    assert all(arn.endswith(">/predictions/*") for _, (arn,) in found)


@pytest.mark.parametrize("name", STEPS)
def test_a_function_writes_its_own_log_group_only(workflow: Template, name: str) -> None:
    statements = [
        statement
        for statement in workflow.statements(f"{name}Role")
        if any(action.startswith("logs:") for action in statement["Action"])
    ]
    assert len(statements) == 1
    assert re.fullmatch(rf"<{name}Logs\w+\.Arn>", text(statements[0]["Resource"]))


def test_the_state_machine_only_calls_what_it_is_made_of(workflow: Template) -> None:
    found = {tuple(actions): resources for actions, resources in grants(workflow, "ClassificationWorkflowRole")}
    assert {tuple(actions) for actions in found} == {
        ("lambda:InvokeFunction",),
        ("s3:ListBucket",),
        ("s3:PutObject",),
        ("sns:Publish",),
    }
    assert [arn.partition("/")[2] for arn in found["s3:PutObject",]] == ["manifests/*"]
    invoked = {match[1] for arn in found["lambda:InvokeFunction",] if (match := re.match(r"<(\D+)", arn))}
    assert invoked == set(STEPS)


# The definition


def test_the_steps_run_in_the_original_order(steps: dict[str, Any]) -> None:
    assert steps["SerializeImageData"]["Next"] == "Classifier"
    assert steps["Classifier"]["Next"] == "FilterConfidence"
    assert steps["FilterConfidence"]["End"] is True


@pytest.mark.parametrize("name", STEPS)
def test_each_step_keeps_the_original_retry(steps: dict[str, Any], name: str) -> None:
    _, service, transient = steps[name]["Retry"]
    assert service == {
        "ErrorEquals": [
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.TooManyRequestsException",
            "Lambda.ClientExecutionTimeoutException",
        ],
        "IntervalSeconds": 1,
        "MaxAttempts": 3,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    }
    assert transient == {**service, "ErrorEquals": ["EndpointUnavailableError", "StorageUnavailableError"]}


def test_error_names_in_the_definition_are_classes_of_the_functions(steps: dict[str, Any]) -> None:
    named = {
        name
        for step in STEPS
        for clause in steps[step]["Retry"] + steps[step]["Catch"]
        for name in clause["ErrorEquals"]
        if not name.startswith(("Lambda.", "States."))
    }
    retried = {"EndpointUnavailableError", "StorageUnavailableError"}
    assert named == {*retried, "LowConfidenceError", "WaitingForEndpointError"}
    for name in named:
        assert issubclass(getattr(errors, name), errors.ImageError)


def test_each_step_catches_everything_per_image(steps: dict[str, Any]) -> None:
    for name in STEPS:
        assert steps[name]["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
        assert steps[name]["Catch"][-1]["Next"] == "Failed"
    assert steps["FilterConfidence"]["Catch"][0]["ErrorEquals"] == ["LowConfidenceError"]
    assert steps["FilterConfidence"]["Catch"][0]["Next"] == "Rejected"


def test_images_never_leave_the_map(definition: dict[str, Any], steps: dict[str, Any]) -> None:
    outcomes = [clause["Output"] for name in STEPS for clause in steps[name]["Catch"]]
    for outcome in [*outcomes, steps["FilterConfidence"]["Output"], definition["States"]["ClassifyImages"]["Output"]]:
        assert "image_data" not in outcome


@pytest.mark.parametrize("name", STEPS)
def test_an_outcomes_prediction_comes_from_the_steps_and_never_from_the_start_input(
    steps: dict[str, Any], name: str
) -> None:
    """What FilterConfidence gets, Classifier has made."""
    item = {"s3_key": "test/a.png", "label": "motorcycle", "confidence": 1}
    for clause in steps[name]["Catch"]:
        error = {"Error": "CorruptImageError", "Cause": "text"}
        outcome = stepfunctions._apply_jsonata_template(clause["Output"], item, {}, error_output=error)
        assert outcome["s3_key"] == "test/a.png"
        assert ("label" in outcome, "confidence" in outcome) == (name == STEPS[-1],) * 2


@pytest.mark.parametrize(
    ("cause", "shown"),
    [
        ("text", "text"),
        ("c" * 120, "c" * 120),
        ("c" * 121, "c" * 119 + "…"),
        (json.dumps({"errorMessage": "m" * 500}), "m" * 119 + "…"),
        (json.dumps({"errorMessage": "short"}), "short"),
    ],
)
def test_a_long_cause_is_cut_and_ends_in_an_ellipsis(steps: dict[str, Any], cause: str, shown: str) -> None:
    for name in STEPS:
        for clause in steps[name]["Catch"]:
            error = {"Error": "CorruptImageError", "Cause": cause}
            outcome = stepfunctions._apply_jsonata_template(clause["Output"], {}, {}, error_output=error)
            assert outcome["cause"] == shown


def test_a_manifest_is_written_once_and_a_second_one_of_its_name_is_the_workflows_failure(
    definition: dict[str, Any],
) -> None:
    write = definition["States"]["WriteManifest"]
    assert write["Arguments"]["IfNoneMatch"] == "*"
    (clause,) = write["Catch"]
    assert clause["Next"] == "NotifyWorkflowBroken"
    causes = {  # S3's message, and boto3's
        "At least one of the pre-conditions you specified did not hold (Service: S3, Status Code: 412)": True,
        "An error occurred (PreconditionFailed) when calling the PutObject operation": True,
        "Please reduce your request rate. (Service: S3, Status Code: 503)": False,
    }
    for cause, is_duplicate in causes.items():
        error = {"Error": "S3.S3Exception", "Cause": cause}
        context = {"Execution": {"Name": "chosen"}}
        found = stepfunctions._apply_jsonata_template(clause["Output"], {}, context, error_output=error)
        assert (found["Error"] == "ManifestExistsError") == is_duplicate
        assert ("manifests/chosen.json is never overwritten" in found["Cause"]) == is_duplicate
        assert is_duplicate or found == error


def test_the_map_fans_out_as_configured(definition: dict[str, Any], environment: str) -> None:
    classify_images = definition["States"]["ClassifyImages"]
    assert classify_images["Type"] == "Map"
    assert classify_images["MaxConcurrency"] == load_environment(environment).map_concurrency


def test_time_outs_add_up(workflow: Template, definition: dict[str, Any], steps: dict[str, Any]) -> None:
    for name in STEPS:
        function = workflow.named("AWS::Lambda::Function", name)
        assert function["Timeout"] < steps[name]["TimeoutSeconds"] < definition["TimeoutSeconds"]


def test_anything_not_accepted_is_published_and_fails_the_execution(definition: dict[str, Any]) -> None:
    states = definition["States"]
    assert states["ClassifyImages"]["Next"] == "WriteManifest"
    assert states["WriteManifest"]["Resource"].endswith(":aws-sdk:s3:putObject")
    assert states["WriteManifest"]["Next"] == "AllAccepted?"
    assert states["AllAccepted?"]["Default"] == "NotifyOperators"
    assert states["NotifyOperators"]["Resource"].endswith(":sns:publish")
    assert states["NotifyOperators"]["Next"] == "AnyFailed?"
    assert states["NotifyOperators"]["Catch"][0]["Next"] == "AnyFailed?"
    assert states["InferencesRejected"]["Type"] == states["InferencesFailed"]["Type"] == "Fail"
    for name in ("ListImages", "ClassifyImages", "WriteManifest"):
        assert states[name]["Catch"][0]["Next"] == "NotifyWorkflowBroken"


def test_executions_are_logged_and_traced_without_their_images(workflow: Template) -> None:
    state_machine = workflow.only("AWS::StepFunctions::StateMachine")
    assert state_machine["TracingConfiguration"] == {"Enabled": True}
    assert state_machine["LoggingConfiguration"]["Level"] == "ALL"
    assert state_machine["LoggingConfiguration"]["IncludeExecutionData"] is False


# The triggers


def test_an_upload_below_incoming_starts_the_workflow(workflow: Template) -> None:
    rule = workflow.only("AWS::Events::Rule")
    assert rule["State"] == "ENABLED"
    assert rule["EventPattern"]["source"] == ["aws.s3"]
    assert rule["EventPattern"]["detail-type"] == ["Object Created"]
    assert rule["EventPattern"]["detail"]["object"] == {"key": [{"prefix": "incoming/"}]}
    (target,) = rule["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 7200, "MaximumRetryAttempts": 8}
    queue = target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
    assert queue in workflow.resources("AWS::SQS::Queue")


def test_a_replayed_event_becomes_the_input_that_the_rule_makes_of_it(workflow: Template) -> None:
    (target,) = workflow.only("AWS::Events::Rule")["Targets"]
    assert (target["InputPath"], "InputTransformer" in target) == ("$.detail", False)
    event = upload_event("incoming/a b/ü.png")
    assert execution_input(event) == event["detail"]


def test_the_dead_letter_queue_is_encrypted_and_closed(workflow: Template) -> None:
    queue = workflow.only("AWS::SQS::Queue")
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    statements = workflow.only("AWS::SQS::QueuePolicy")["PolicyDocument"]["Statement"]
    allowed = [statement["Principal"] for statement in statements if statement["Effect"] == "Allow"]
    assert allowed == [{"Service": "events.amazonaws.com"}]
    denied = [statement["Condition"] for statement in statements if statement["Effect"] == "Deny"]
    assert denied == [{"Bool": {"aws:SecureTransport": "false"}}]


def test_no_schedule_unless_configured(workflow: Template) -> None:
    assert not workflow.resources("AWS::Scheduler::Schedule")
