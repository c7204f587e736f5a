"""An environment's calls to SageMaker by the calling role, with the requests that follow from its templates.

local/permissions.py has the permissions that they need. The functions' requests are those of
lambda_src/retraining/release.py.
"""

import json
from collections.abc import Iterator
from typing import Any

from ministack.services import stepfunctions

from local.permissions import Call
from scanners.policies import ACCOUNT, REGION, Environment
from tests.infrastructure.conftest import definition_of
from tests.infrastructure.test_requests import states_input, tasks

# A deployment or a release has created what is in service; the name that CloudFormation generates needs the wider grant
_SERVED = {"DescribeEndpointConfig": "EndpointConfigName", "DescribeModel": "ModelName"}
_CONTEXT = {"Execution": {"Id": "x", "Name": "x", "StartTime": "2026-11-25T08:00:00.123Z", "RedriveCount": 0}}


def calls(environment: Environment, name: str) -> Iterator[tuple[str, Call]]:
    """Each with the construct of the role that calls."""
    machines = environment.resources(
        "AWS::StepFunctions::StateMachine", "RoleArn", "DefinitionString", "DefinitionSubstitutions"
    )
    for _, machine in machines:
        for call in _of_state_machine(definition_of(machine), name):
            yield machine["RoleArn"].rpartition("/")[2][:-8], call
    for role, found in _of_functions(environment, name).items():
        for call in found:
            yield role, call


def _of_state_machine(definition: dict[str, Any], name: str) -> Iterator[Call]:
    for _, resource, arguments in tasks(definition):
        service, _, operation = resource.partition(":states:::")[2].removeprefix("aws-sdk:").partition(":")
        if service == "sagemaker":
            package = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/scones-{name}/1"
            state_input = {**states_input(name), "approval": {"package": package}}
            request = stepfunctions._apply_jsonata_template(arguments, state_input, _CONTEXT)
            yield _call(f"{operation[0].upper()}{operation[1:]}".removesuffix(".sync"), request)
            if operation.endswith(".sync"):
                yield _call(operation, request)


def _of_functions(environment: Environment, name: str) -> dict[str, list[Call]]:
    ((_, endpoint_config),) = environment.resources("AWS::SageMaker::EndpointConfig", "KmsKeyId")
    ((_, model),) = environment.resources("AWS::SageMaker::Model", "EnableNetworkIsolation")
    ((_, endpoint),) = environment.resources("AWS::SageMaker::Endpoint", "EndpointName")
    tags = [{"Key": "environment", "Value": name}]
    role = environment.arns("AWS::IAM::Role")["SageMakerRole"]
    functions = {key[:-8]: found for key, found in environment.resources("AWS::Lambda::Function", "Environment")}
    deployment_config = functions["ReleaseModel"]["Environment"]["Variables"]["DEPLOYMENT_CONFIG"]
    released = {"EndpointName": endpoint["EndpointName"], "EndpointConfigName": f"scones-{name}-r"}
    deployed = {**released, "EndpointConfigName": "made-by-cloudformation"}
    canary = {"DeploymentConfig": json.loads(deployment_config)}
    copied = {**endpoint_config, "EndpointConfigName": released["EndpointConfigName"], "Tags": tags}
    create_model = _call(
        "CreateModel", {**model, "ModelName": f"scones-{name}-j", "ExecutionRoleArn": role, "Tags": tags}
    )
    training_job = _call("DescribeTrainingJob", {"TrainingJobName": f"scones-{name}-j"})
    list_jobs = _call("ListTrainingJobs", {})
    invoke = _call("InvokeEndpoint", {"EndpointName": endpoint["EndpointName"]})
    describe_config, describe_model = _call("DescribeEndpointConfig", {}), _call("DescribeModel", {})
    served = [_call("DescribeEndpoint", released), describe_config, describe_model]
    return {
        "ClassifierRole": [invoke],
        "ReleaseLogRole": [describe_config, describe_model],
        "PrepareTrainingRole": [training_job, list_jobs],
        "PrepareEvaluationRole": [*served, training_job, create_model],
        "PrepareRollbackRole": [*served, training_job, create_model],
        "ReleaseModelRole": [
            *served,
            _call("CreateEndpointConfig", copied),
            _call("UpdateEndpoint", {**released, **canary}, endpoint_config),
            _call("UpdateEndpoint", released, endpoint_config),
        ],
        "RestoreEndpointRole": [
            *served,
            _call("UpdateEndpoint", released, endpoint_config),
            _call("UpdateEndpoint", deployed, endpoint_config),
        ],
        "SmokeTestRole": [invoke],
        "RecordReleaseRole": [training_job],
    }


def _call(operation: str, request: Any, endpoint_config: Any = None) -> Call:
    if operation in _SERVED:
        request = {_SERVED[operation]: "made-by-cloudformation"}
    return Call(operation, request, region=REGION, account=ACCOUNT, endpoint_config=endpoint_config or {})
