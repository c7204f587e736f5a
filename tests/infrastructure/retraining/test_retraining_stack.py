import json
from typing import Any

import pytest
from ministack.services import stepfunctions

from stacks.config import load_environment
from stacks.shared.deployment_config import deployment_config
from stacks.shared.hyperparameters import hyperparameters, parameters_digest
from tests.infrastructure.conftest import Template, definition_of, text

# The states in which the endpoint may have changed; an error in any state before them changes nothing
CHANGING = {"ReleaseModel", "ReadEndpoint", "SmokeTest", "RecordRelease"}
FAILING_TO = {
    **dict.fromkeys(CHANGING, "CanBeUndone?"),
    "RestoreEndpoint": "NotifyBroken",
    "TrainCandidate": "IsInstanceRefused?",
}


@pytest.fixture(scope="session")
def states(retraining: Template) -> dict[str, Any]:
    definition = definition_of(retraining.only("AWS::StepFunctions::StateMachine"))
    assert definition["QueryLanguage"] == "JSONata"
    found: dict[str, Any] = definition["States"]
    return found


def followers(state: dict[str, Any]) -> set[str]:
    return {
        value
        for holder in (state, *state.get("Choices", []), *state.get("Catch", []))
        for key, value in holder.items()
        if key in {"Next", "Default"}
    }


def all_states(states: dict[str, Any]) -> dict[str, Any]:
    branches = [branch["States"] for state in states.values() for branch in state.get("Branches", [])]
    return {name: state for group in (states, *branches) for name, state in group.items()}


# The definition


def test_every_failure_is_caught_and_reported(states: dict[str, Any]) -> None:
    for name, state in states.items():
        if state["Type"] not in {"Task", "Parallel"}:
            continue
        (catch,) = state["Catch"]
        assert catch["ErrorEquals"] == ["States.ALL"], name
        assert "$states.input" in catch["Output"], f"{name}: the handler would be given the error alone"
        if name.startswith("Notify"):
            assert states[catch["Next"]]["Type"] in {"Fail", "Succeed"}, "a silent topic must not hide the end"
        else:
            expected = FAILING_TO.get(name, "NotifyFailed")
            assert catch["Next"] == expected, name


def test_every_end_sends_a_message_except_for_an_alarm_during_a_run(states: dict[str, Any]) -> None:
    ends = {name for name, state in states.items() if state["Type"] in {"Fail", "Succeed"}}
    told = {name for name in ends if f"Notify{name}" in states}
    assert ends - told == {"AlarmIgnored"}
    for name in told:
        assert {other for other, state in states.items() if name in followers(state)} == {f"Notify{name}"}


def test_no_way_to_the_endpoint_leads_past_the_gate_but_that_of_a_rollback(states: dict[str, Any]) -> None:
    def reaches_release(name: str, closed: set[str]) -> bool:
        seen, open_ = set(closed), [name]
        while open_:
            current = open_.pop()
            if current == "ReleaseModel":
                return True
            if current not in seen:
                seen.add(current)
                open_ += followers(states[current])
        return False

    assert reaches_release("ValidateDataSet", set())
    assert not reaches_release("ValidateDataSet", {"IsGoodEnough?"})
    assert reaches_release("PrepareRollback", {"IsGoodEnough?"})


def test_approval_is_asked_for_where_it_is_configured(states: dict[str, Any], environment: str) -> None:
    rejects, asks = states["IsGoodEnough?"]["Choices"]
    assert rejects["Next"] == "NotifyRejected"
    assert asks["Next"] == "RegisterModel"
    always = load_environment(environment).retraining.approval
    assert (asks["Condition"] == "{% true %}") == always
    assert always == (environment == "prod")


def test_the_training_job_is_that_of_data_prep(states: dict[str, Any], environment: str) -> None:
    job = states["TrainCandidate"]
    assert job["Resource"].endswith(":states:::sagemaker:createTrainingJob.sync")
    config = load_environment(environment)
    samples = {"num_training_samples": "{% $string($states.input.data.train) %}"}
    assert job["Arguments"]["HyperParameters"] == {**hyperparameters(config), **samples}


# Error and Cause of a refused request and of a failed job, as Step Functions passes them to a Catch
QUOTA = (
    "SageMaker.ResourceLimitExceededException",
    "The account-level service limit 'ml.p3.2xlarge for training job usage' is 0 Instances, with current utilization "
    "of 0 Instances and a request delta of 1 Instances. (Service: AmazonSageMaker; Status Code: 400)",
)
NOT_IN_REGION = (
    "SageMaker.ResourceLimitExceededException",
    "The requested resource training-job/ml.p3.2xlarge is not available in this region (Service: AmazonSageMaker)",
)
UNKNOWN_TYPE = (
    "SageMaker.AmazonSageMakerException",
    "1 validation error detected: Value 'ml.p3.2xlarge' at 'resourceConfig.instanceType' failed to satisfy constraint",
)
UNSUPPORTED_TYPE = ("SageMaker.AmazonSageMakerException", "Unsupported instance type ml.p3.2xlarge")
NO_CAPACITY = (
    "States.TaskFailed",
    json.dumps(
        {
            "TrainingJobStatus": "Failed",
            "FailureReason": "CapacityError: Unable to provision requested ML compute capacity. "
            "Please retry using a different ML instance type.",
        }
    ),
)
BROKEN = ("States.TaskFailed", json.dumps({"FailureReason": "AlgorithmError: out of memory"}))
NAME_TAKEN = ("SageMaker.ResourceInUseException", "Training job names must be unique within an AWS account and region")


def evaluate(value: Any, state_input: Any, error: tuple[str, str] | None = None) -> Any:
    context = {"Execution": {"Id": "the-execution"}}
    error_output = dict(zip(("Error", "Cause"), error, strict=True)) if error else None
    return stepfunctions._apply_jsonata_template(value, state_input, context, error_output=error_output)


def train(states: dict[str, Any], *failures: tuple[str, str]) -> tuple[list[str], dict[str, Any]]:
    """The instance types that are tried while one job after another ends so, and what the run has gathered."""
    state_input: dict[str, Any] = {"data": {"train": 10, "data_digest": "d" * 64}, "training": {"job": "j"}}
    name, tried, failing = "TrainCandidate", [], iter(failures)
    while name not in {"PrepareEvaluation", "NotifyFailed"}:
        state = states[name]
        if name == "TrainCandidate":
            tried.append(evaluate(state["Arguments"], state_input)["ResourceConfig"]["InstanceType"])
            if failure := next(failing, None):
                (catch,) = state["Catch"]
                name, state_input = catch["Next"], evaluate(catch["Output"], state_input, failure)
                continue
        elif name == "PrepareTraining":
            name = "TrainCandidate"
            continue
        elif state["Type"] == "Pass":
            state_input = evaluate(state["Output"], state_input)
        met = [choice["Next"] for choice in state.get("Choices", []) if evaluate(choice["Condition"], state_input)]
        name = met[0] if met else state.get("Default", state.get("Next"))
    return tried, state_input


@pytest.mark.parametrize("refusal", [QUOTA, NOT_IN_REGION, UNKNOWN_TYPE, UNSUPPORTED_TYPE, NO_CAPACITY])
def test_an_instance_that_cannot_be_had_is_followed_by_the_next(
    states: dict[str, Any], environment: str, refusal: tuple[str, str]
) -> None:
    types = list(load_environment(environment).training.instance_types)
    assert len(types) > 2
    for count in range(len(types)):
        tried, output = train(states, *[refusal] * count)
        assert tried == types[: count + 1]
        assert [line.partition(":")[0] for line in output.get("refused", [])] == types[:count]


def test_a_failure_that_no_instance_type_would_change_fails_immediately(states: dict[str, Any]) -> None:
    for failure in (BROKEN, NAME_TAKEN):
        tried, output = train(states, failure)
        assert len(tried) == 1
        assert output["failure"]["error"] == failure[0]


def test_a_run_fails_when_none_of_the_types_can_be_had(states: dict[str, Any], environment: str) -> None:
    types = load_environment(environment).training.instance_types
    tried, output = train(states, *[QUOTA] * len(types))
    assert tried == list(types)
    message = evaluate(states["NotifyFailed"]["Arguments"]["Message"], output)
    for name in types[:-1]:
        assert f"Could not train on {name}: The account-level service limit" in message


def test_both_models_classify_the_same_list_of_images(states: dict[str, Any]) -> None:
    jobs = [branch["States"][branch["StartAt"]] for branch in states["EvaluateBoth"]["Branches"]]
    sources = [job["Arguments"]["TransformInput"]["DataSource"]["S3DataSource"] for job in jobs]
    assert sources[0] == sources[1]
    assert sources[0]["S3DataType"] == "ManifestFile"
    assert len({job["Arguments"]["TransformJobName"] for job in jobs}) == 2


def test_expressions_are_complete_values(states: dict[str, Any]) -> None:
    """JSONata is not evaluated inside a string, and silently stays text there."""

    def strings(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [s for v in value.values() for s in strings(v)]
        if isinstance(value, list):
            return [s for v in value for s in strings(v)]
        return [value] if isinstance(value, str) else []

    for name, state in all_states(states).items():
        for string in strings(state):
            if "{%" in string:
                assert string.startswith("{% "), (name, string)
                assert string.endswith(" %}"), (name, string)


def test_only_what_can_succeed_later_is_retried(states: dict[str, Any]) -> None:
    for name, state in states.items():
        errors = {error for retry in state.get("Retry", []) for error in retry["ErrorEquals"]}
        assert "States.ALL" not in errors, name
        assert not errors & {"InvalidDataSetError", "SmokeTestFailedError", "NoEarlierReleaseError"}, name
        waits = name in {"PrepareEvaluation", "PrepareRollback", "ReleaseModel", "RestoreEndpoint"}
        assert ("EndpointBusyError" in errors) == waits, name


# The triggers


def test_drift_and_a_marker_start_it_and_neither_event_is_lost(retraining: Template, environment: str) -> None:
    rules = retraining.resources("AWS::Events::Rule").values()
    patterns = {rule["Targets"][0]["Input"]: rule for rule in rules}
    drift, data = (patterns[f'{{"trigger":"{name}"}}'] for name in ("drift", "data"))
    assert drift["EventPattern"]["detail"] == {
        "alarmName": [f"scones-{environment}-drift"],
        "state": {"value": ["ALARM"]},
    }
    assert data["EventPattern"]["detail"]["object"] == {"key": ["train/_READY"]}
    for rule in rules:
        assert rule["State"] == "ENABLED"
        assert "DeadLetterConfig" in rule["Targets"][0]


def test_the_drift_alarm_exists(monitoring: Template, environment: str) -> None:
    names = {alarm["AlarmName"] for alarm in monitoring.resources("AWS::CloudWatch::Alarm").values()}
    assert load_environment(environment).drift_alarm_name in names


# The functions


def test_the_functions_know_what_the_stacks_do(retraining: Template, environment: str) -> None:
    config = load_environment(environment)
    variables = {
        name: retraining.named("AWS::Lambda::Function", name)["Environment"]["Variables"]
        for name in ("ReleaseModel", "PrepareTraining", "EvaluateModels")
    }
    assert json.loads(text(variables["ReleaseModel"]["DEPLOYMENT_CONFIG"])) == deployment_config(config)
    assert variables["PrepareTraining"]["PARAMETERS_DIGEST"] == parameters_digest(config)
    assert float(variables["EvaluateModels"]["MINIMUM_ACCURACY"]) == config.retraining.minimum_accuracy


def grants(retraining: Template, function: str) -> dict[str, set[str]]:
    """Resources by action, without logs and traces; of an object or a SageMaker resource what follows the colon."""
    found: dict[str, set[str]] = {}
    for statement in retraining.statements(f"{function}Role"):
        actions, resources = statement["Action"], statement["Resource"]
        for action in actions if isinstance(actions, list) else [actions]:
            for resource in resources if isinstance(resources, list) else [resources]:
                if not action.startswith(("logs:", "xray:")):
                    rendered = text(resource)
                    short = rendered.partition("/")[2] if action.startswith("s3:") else rendered.rpartition(":")[2]
                    found.setdefault(action, set()).add(short)
    return found


def test_only_three_functions_can_change_what_is_served(retraining: Template, environment: str) -> None:
    roles = [key[:-8].removesuffix("Role") for key in retraining.resources("AWS::IAM::Role")]
    functions = [
        role for role in roles if role in {name[:-8] for name in retraining.resources("AWS::Lambda::Function")}
    ]
    assert len(functions) == 10
    able: dict[str, set[str]] = {}
    for function in functions:
        for action in grants(retraining, function):
            if action in {"sagemaker:UpdateEndpoint", "ssm:PutParameter"}:
                able.setdefault(action, set()).add(function)
    assert able == {
        "sagemaker:UpdateEndpoint": {"ReleaseModel", "RestoreEndpoint"},
        "ssm:PutParameter": {"RecordRelease"},
    }


def test_the_guard_writes_its_ledger_only(retraining: Template, environment: str) -> None:
    allowed = grants(retraining, "RetrainingGuard")
    assert allowed["s3:PutObject"] == {"retraining/ledger.json"}
    assert allowed["s3:GetObject"] == {"retraining/ledger.json", "endpoint/pause.json"}
    assert allowed["states:DescribeExecution"] == {"*"}  # the last part of the ARN, after the state machine's name


def test_created_resources_carry_the_environments_name(retraining: Template, environment: str) -> None:
    allowed = grants(retraining, "PrepareEvaluation")
    assert allowed["sagemaker:CreateModel"] == {f"model/scones-{environment}-*"}
    assert grants(retraining, "ReleaseModel")["sagemaker:CreateEndpointConfig"] == {
        f"endpoint-config/scones-{environment}-*"
    }


def test_only_sagemaker_can_be_given_the_role(retraining: Template) -> None:
    passing = [
        statement
        for policy in retraining.resources("AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "iam:PassRole"
    ]
    assert len(passing) == 3  # the state machine, and the functions that create models
    for statement in passing:
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
