"""State machines that run SageMaker jobs and wait until they end, with the state machine's role."""

import json
import uuid
from typing import Any

import boto3
import pytest

from local.demonstration import Environment, wait_for

# https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html
ALLOWED = {
    "arn:aws:sagemaker:*:*:transform-job/allowed-*": {
        *("sagemaker:CreateTransformJob", "sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob"),
        *("sagemaker:AddTags", "sagemaker:ListTags"),
    },
    "arn:aws:events:*:*:rule/StepFunctionsGetEventsForSageMakerTransformJobsRule": {
        *("events:DescribeRule", "events:PutRule", "events:PutTargets"),
    },
}


@pytest.fixture
def model_name(environment: Environment) -> str:
    resources = boto3.client("cloudformation").list_stack_resources(StackName=f"{environment.config.stage_name}-Model")
    return next(
        str(resource["PhysicalResourceId"])
        for resource in resources["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::SageMaker::Model"
    )


def run_state_machine(definition: dict[str, Any], *, without: str = "") -> dict[str, Any]:
    """One execution of a state machine made for it, with a role that may run the jobs called `allowed-...`.

    `without` one of its actions.
    """
    name = f"jobs-{uuid.uuid4()}"
    iam, states = boto3.client("iam"), boto3.client("stepfunctions")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]
    statements = [
        {"Effect": "Allow", "Action": sorted(actions - {without}), "Resource": resource}
        for resource, actions in ALLOWED.items()
    ]
    policy = {"Version": "2012-10-17", "Statement": statements}
    iam.put_role_policy(RoleName=name, PolicyName="jobs", PolicyDocument=json.dumps(policy))
    machine = states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=role["Arn"])
    started = states.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")

    def ended() -> dict[str, Any] | None:
        described = states.describe_execution(executionArn=started["executionArn"])
        return None if described["status"] == "RUNNING" else dict(described)

    return wait_for(ended, f"the end of {name}")


def transform_definition(environment: Environment, model_name: str, job_name: str, prefix: str) -> dict[str, Any]:
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createTransformJob.sync",
        "Arguments": {
            "TransformJobName": job_name,
            "ModelName": model_name,
            "TransformInput": {
                "ContentType": "application/x-image",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{environment.bucket}/{prefix}"}
                },
            },
            "TransformOutput": {"S3OutputPath": f"s3://{environment.bucket}/models/transforms/{job_name}"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        },
        "End": True,
    }
    return {"QueryLanguage": "JSONata", "StartAt": "Transform", "States": {"Transform": task}}


def test_a_transform_job_runs_to_its_end(
    environment: Environment, model_name: str, confident_images: list[str]
) -> None:
    job_name = f"allowed-{uuid.uuid4()}"
    prefix = confident_images[0]
    ended = run_state_machine(transform_definition(environment, model_name, job_name, prefix))
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert json.loads(ended["output"])["TransformJobStatus"] == "Completed"
    (key,) = environment.keys(f"models/transforms/{job_name}/")
    body = boto3.client("s3").get_object(Bucket=environment.bucket, Key=key)["Body"].read()
    assert max(json.loads(body)["prediction"]) >= environment.config.confidence_threshold


def test_a_failed_job_fails_the_task_with_its_description(environment: Environment, model_name: str) -> None:
    ended = run_state_machine(
        transform_definition(environment, model_name, f"allowed-{uuid.uuid4()}", "test/there is nothing here")
    )
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    assert "no S3 objects found" in json.loads(ended["cause"])["FailureReason"]


def test_a_job_that_the_role_may_not_create_is_refused(environment: Environment, model_name: str) -> None:
    ended = run_state_machine(transform_definition(environment, model_name, f"other-{uuid.uuid4()}", "test/"))
    assert (ended["status"], ended["error"]) == ("FAILED", "SageMaker.AccessDeniedException")


@pytest.mark.parametrize("action", sorted(action for actions in ALLOWED.values() for action in actions))
def test_a_job_is_refused_to_a_role_that_may_not_follow_it(
    environment: Environment, model_name: str, action: str
) -> None:
    definition = transform_definition(environment, model_name, f"allowed-{uuid.uuid4()}", "test/")
    ended = run_state_machine(definition, without=action)
    assert (ended["status"], ended["error"]) == ("FAILED", "SageMaker.AccessDeniedException")
    assert f"is not authorized to perform: {action} on" in ended["cause"]


def test_a_job_whose_name_sagemaker_would_refuse_is_refused(environment: Environment, model_name: str) -> None:
    ended = run_state_machine(transform_definition(environment, model_name, "allowed-", "test/"))
    assert (ended["status"], ended["error"]) == ("FAILED", "SageMaker.AmazonSageMakerException")
    assert "'transformJobName' failed to satisfy constraint" in ended["cause"]
