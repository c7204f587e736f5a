"""AWS's services accept the requests of the state machines, even with the longest possible inputs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ParamValidationError
from ministack.services import stepfunctions

from local import strict
from tests.conftest import LONGEST_NAME
from tests.infrastructure.conftest import definition_of

ACCOUNT, REGION = "123456789012", "ap-southeast-2"
RUN, DIGEST = "01234567", "89abcdef" * 8
# The name of an execution that EventBridge starts, and the longest name that a caller can choose
EXECUTION_NAMES = ("0b7a5b3e-5f1c-4f63-8a44-7a8f7ac6ff5b_c4a7d9a1-6a02-4f1e-b6a5-0e6d9d6a2c11", "x" * 80)

# Values for a template's references, by a part of the reference's name
_DEPLOYED = (
    ("AWS::Partition", "aws"),
    ("AWS::Region", REGION),
    ("AWS::AccountId", ACCOUNT),
    ("AWS::URLSuffix", "amazonaws.com"),
    ("FindInMap", ACCOUNT),
    ("Bucket", f"{'b' * 40}-{ACCOUNT}-data"),
    ("Topic", f"arn:aws:sns:{REGION}:{ACCOUNT}:scones-{LONGEST_NAME}-Workflow-AlertTopic2720D535-0123456789AB"),
    ("SageMakerRole", f"arn:aws:iam::{ACCOUNT}:role/scones-{LONGEST_NAME}-Data-SageMakerRoleD4FCFA3F-0123456789AB"),
    ("Key", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0b7a5b3e-5f1c-4f63-8a44-7a8f7ac6ff5b"),
    ("Arn", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{'f' * 64}"),
)


def deployed(reference: str) -> str:
    return next(value for part, value in _DEPLOYED if part in reference)


def tasks(definition: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Name, resource and arguments of what calls a service; a ResultWriter's are none of the service's own."""
    for name, state in definition["States"].items():
        for part in (state, state.get("ItemReader")):
            if part and "Resource" in part:
                yield name, part["Resource"], part["Arguments"]
        for inner in (*state.get("Branches", []), *filter(None, [state.get("ItemProcessor")])):
            yield from tasks(inner)


def state_machines(assembly: Path, environment: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in (assembly / f"assembly-{environment}").glob("*.template.json"):
        for name, resource in json.loads(path.read_text())["Resources"].items():
            if resource["Type"] == "AWS::StepFunctions::StateMachine":
                yield name, definition_of(resource["Properties"], deployed)


def states_input(environment: str) -> dict[str, Any]:
    """The members of every state's input, in all the workflows."""
    job = f"scones-{environment}-{DIGEST[:8]}-abcdef01-99"
    model = {
        "job": job,
        "model": job,
        "endpoint_config": f"{job}-{RUN}",
        "artifact_uri": f"s3://{deployed('Bucket')}/models/{job}/output/model.tar.gz",
        "container": {
            "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{'r' * 60}:1.9-0-cpu-py3",
            "Environment": {"SAGEMAKER_SERVING_MODULE": "inference:app", "PYTHONPATH": "/opt/ml/model/code"},
        },
    }
    outcome = {"outcome": "FAILED", "s3_key": "incoming/" + "ü" * 400, "error": "Error", "cause": "c" * 200}
    evaluation = {"accuracy": 0.12345678901234567, "calibration_error": 1 / 3, "images": 200_000}
    package = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/scones-{environment}/1"
    return {
        "run": RUN,
        "trigger": "schedule",
        "refusal": "r" * 300,
        "input": {"trigger": "schedule", "job": job, "rollback": False},
        "data": {
            "data_digest": DIGEST,
            "train": 200_000,
            "validation_manifest": f"retraining/{RUN}/validation.manifest",
        },
        "training": {"job": job, "status": "New"},
        "refused": ["ml.p3.2xlarge: " + "r" * 300],
        "models": {"candidate": model, "incumbent": model, "is_served": False, "is_released": False},
        "evaluation": {"candidate": evaluation, "incumbent": evaluation, "reasons": ["r" * 300] * 3},
        "approval": {"package": package, "status": "PendingManualApproval", "deadline": 0},
        "release": {"endpoint_config": f"{job}-{RUN}"},
        "endpoint": {"status": "InService", "config": f"{job}-{RUN}", "reason": "r" * 1000},
        "failure": {"error": "States.TaskFailed", "cause": "line\n" * 400},
        # Pause and resume
        "action": "resume",
        "stack": {"status": "UPDATE_COMPLETE", "parameters": ["EndpointExists", "EndpointPaused", "BootstrapVersion"]},
        "pause": {"paused_at": "2026-11-26T18:00:00.123Z"},
        "waiting": "waiting/20261126180000123/",
        # The classification and bulk workflows
        "s3_bucket": deployed("Bucket"),
        "s3_prefix": "incoming/ü/",
        "manifest_key": "scheduled/list.jsonl",
        "endpoint_config": f"{job}-{RUN}",
        "model": job,
        "counts": {"ACCEPTED": 1_000_000, "REJECTED": 1_000_000, "WAITING": 1_000_000, "FAILED": 1_000_000},
        "outcomes": [outcome] * 30,
        "examples": [outcome] * 20,
        "Items": [{"s3_key": "incoming/a.png"}],
        "Error": "States.TaskFailed",
        "Cause": "line\n" * 400,
    }


@pytest.mark.parametrize("execution_name", EXECUTION_NAMES)
@pytest.mark.parametrize("environment", ["dev", "prod", LONGEST_NAME])
def test_services_accept_the_requests_of_every_task(
    assembly: Path, variants: Path, environment: str, execution_name: str
) -> None:
    raw_input = states_input(environment)
    problems, services = [], set()
    for machine, definition in state_machines(variants if environment == LONGEST_NAME else assembly, environment):
        execution_id = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{machine}:{execution_name}"
        context = {
            "Execution": {
                "Id": execution_id,
                "Name": execution_name,
                "StartTime": "2026-11-25T08:00:00.123Z",
                "RedriveCount": 0,
            }
        }
        for name, resource, arguments in tasks(definition):
            rendered = stepfunctions._apply_jsonata_template(arguments, raw_input, context)
            operation, request = strict.task_request(resource, rendered)
            services.add(operation.service_model.service_name)
            try:
                strict.check(operation, request)
            except ParamValidationError as error:
                problems.append(f"{machine}/{name}: {error}")
    assert not problems, "\n".join(problems)
    assert services == {"cloudformation", "lambda", "s3", "sagemaker", "sns", "stepfunctions"}


def test_registering_a_model_again_in_the_same_run_has_the_same_token(assembly: Path) -> None:
    (definition,) = (found for name, found in state_machines(assembly, "prod") if name.startswith("Retraining"))
    (token,) = (arguments["ClientToken"] for name, _, arguments in tasks(definition) if name == "RegisterModel")

    def rendered(**changes: Any) -> str:
        return str(stepfunctions._apply_jsonata_template(token, {**states_input("prod"), **changes}, {}))

    assert rendered() == rendered(evaluation={})
    assert len({rendered(), rendered(run="76543210"), rendered(data={"data_digest": "f" * 64})}) == 3
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,36}", rendered())


def test_every_bulk_run_and_every_redrive_has_a_transform_job_of_its_own(variants: Path) -> None:
    """Names are cut, and only letters, digits and hyphens are left of them."""
    (definition,) = (found for name, found in state_machines(variants, LONGEST_NAME) if name.startswith("BatchTransf"))
    (name,) = (arguments["TransformJobName"] for name, _, arguments in tasks(definition) if name == "TransformImages")
    made = [
        stepfunctions._apply_jsonata_template(
            name, {}, {"Execution": {"Name": execution, "StartTime": started, "RedriveCount": redrives}}
        )
        for execution in ("a", "a.b", "a-b", "a_b", "é", f"{'x' * 79}a", f"{'x' * 79}b", "ends-", "-")
        for started in ("2026-11-25T08:00:00.123Z", "2027-02-25T08:00:00.123Z")
        for redrives in (0, 1, 10)
    ]
    assert len(set(made)) == len(made)
    assert not [job for job in made if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", job) or len(job) > 63]
