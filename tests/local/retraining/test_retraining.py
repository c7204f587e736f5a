"""The deployed retraining workflow, end to end, with IAM enforced: each way that a run can go.

The tests build on each other's endpoint, and each checks that it is served and named consistently at its end.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from lambda_src.retraining.release import job_of
from lambda_src.shared.item import ImageRef
from local import deployment
from local.cloud import LocalCloud
from local.demonstration import Environment, Inbox, labelled_images, wait_for
from local.retraining import SLOW, DataSet, Retraining, Run, Traffic
from local.sagemaker.fault import Fault
from stacks.config import PROJECT_ROOT


@pytest.fixture(autouse=True)
def _consistent(retraining: Retraining) -> Iterator[None]:
    yield
    assert retraining.served_artifact() == retraining.named_artifact()


@pytest.fixture
def traffic(environment: Environment, dataset: Path) -> Iterator[Traffic]:
    images = labelled_images(dataset, environment.config.classes, at_most=10)
    bodies = [(dataset / image.key).read_bytes() for image in images]
    with Traffic(environment.config.endpoint_name, bodies) as traffic:
        yield traffic


def message(inbox: Inbox) -> dict[str, str]:
    (found,) = wait_for(lambda: inbox.messages() or None, "a message of the alert topic")
    return found


# Two data sets whose models are trained once and take turns; the training job of each, once it is known
pytestmark = pytest.mark.slow

JOBS: dict[float, str] = {0.95: "", 0.9: ""}


def prepare(retraining: Retraining, data: DataSet) -> float:
    """Put a data set into the bucket whose model is not the served one."""
    served = job_of(retraining.served_artifact())
    share = next(share for share, job in JOBS.items() if job != served)
    data.keep(share)
    return share


def released(retraining: Retraining, data: DataSet) -> Run:
    """Release another good model."""
    share = prepare(retraining, data)
    run = retraining.run(force=True)
    assert run.outcome == "Released", (run.states, run.cause, run.output.get("evaluation"))
    JOBS[share] = run.output["training"]["job"]
    return run


@pytest.mark.usefixtures("long_bake")
def test_a_failing_update_rolls_back_automatically(
    retraining: Retraining, data: DataSet, inbox: Inbox, cloud: LocalCloud, environment: Environment, traffic: Traffic
) -> None:
    before = retraining.served_artifact()
    cloud.order_faults(environment.config.endpoint_name, *[SLOW] * 500)
    prepare(retraining, data)
    run = retraining.run(force=True)
    assert (run.error, run.states[-1]) == ("ReleaseRolledBack", "RolledBack"), (run.states, run.cause)
    assert "CanaryFailed" in run.states
    assert "scones-dev-update-latency" in run.cause
    assert retraining.served_artifact() == before
    assert "release rolled back" in message(inbox)["Subject"]
    assert traffic.failures == []


def test_the_same_data_again_is_nothing_new(retraining: Retraining, data: DataSet, inbox: Inbox) -> None:
    run = retraining.run(force=True)
    assert run.outcome == "NothingNew", (run.states, run.cause)
    assert "nothing new to serve" in message(inbox)["Subject"]


def test_spoilt_data_is_refused_before_anything_is_trained(
    retraining: Retraining, data: DataSet, inbox: Inbox, environment: Environment
) -> None:
    before = retraining.served_artifact()
    boto3.client("s3").put_object(Bucket=environment.bucket, Key="train_lst/train.lst", Body=b"0\t0\tmissing.png\n")
    run = retraining.run(force=True)
    assert (run.status, run.error) == ("FAILED", "RetrainingFailed")
    assert "InvalidDataSetError" in run.cause
    assert "train/missing.png: no such object" in run.cause
    assert "TrainCandidate" not in run.states
    assert "Nothing has changed" in message(inbox)["Message"]
    assert retraining.served_artifact() == before


def test_a_worse_candidate_is_rejected_and_both_results_are_reported(
    retraining: Retraining, data: DataSet, inbox: Inbox
) -> None:
    before = retraining.served_artifact()
    data.relabel(0.45)
    run = retraining.run(force=True)
    assert run.outcome == "Rejected", (run.states, run.cause)
    told = message(inbox)
    assert "candidate rejected" in told["Subject"]
    results = run.output["evaluation"]
    assert results["candidate"]["accuracy"] < results["incumbent"]["accuracy"]
    for role in ("candidate", "incumbent"):
        assert f"{results[role]['accuracy']:.4f}" in told["Message"]
    assert retraining.served_artifact() == before


def test_instance_types_that_cannot_be_had_are_passed_over(
    retraining: Retraining, data: DataSet, inbox: Inbox, cloud: LocalCloud
) -> None:
    data.relabel(0.5)  # a data set that no job was trained on
    cloud.withhold_instances({"ml.p3.2xlarge": "quota", "ml.g4dn.xlarge": "capacity"})
    try:
        run = retraining.run(force=True)
    finally:
        cloud.withhold_instances({})
    assert run.outcome == "Rejected", (run.states, run.cause)
    assert run.states.count("TrainCandidate") == 3
    job = run.output["training"]["job"]
    assert job.endswith("-2"), "the job without capacity took the first name, the refused request none"
    description = boto3.client("sagemaker").describe_training_job(TrainingJobName=job)
    assert description["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
    told = message(inbox)["Message"]
    assert "Could not train on ml.p3.2xlarge: " in told
    assert "Could not train on ml.g4dn.xlarge: CapacityError: Unable to provision requested ML compute capacity" in told


def test_a_good_candidate_is_released_without_a_failed_request(
    retraining: Retraining, data: DataSet, inbox: Inbox, traffic: Traffic, environment: Environment
) -> None:
    before = retraining.served_artifact()
    run = released(retraining, data)
    assert run.states[-4:] == ["SmokeTest", "RecordRelease", "NotifyReleased", "Released"]
    assert retraining.served_artifact() != before
    assert traffic.sent > 20
    assert traffic.failures == []
    assert "model released" in message(inbox)["Subject"]
    job = run.output["models"]["candidate"]["job"]
    for name in ("manifest", "predictions", "evaluation", "smoke_test", "baseline"):
        assert f"models/{job}/{name}.json" in environment.keys("models/")
    metadata = boto3.client("ssm").get_parameter(Name=environment.config.model_metadata_parameter)
    assert json.loads(metadata["Parameter"]["Value"])["job"] == job
    baseline = boto3.client("ssm").get_parameter(Name=environment.config.baseline_parameter)
    assert baseline["Parameter"]["Value"] == f"models/{job}/baseline.json"


def test_the_release_captures_and_scales_as_the_model_stack_does(
    retraining: Retraining, data: DataSet, environment: Environment
) -> None:
    sagemaker = boto3.client("sagemaker")

    def served() -> Any:
        endpoint = sagemaker.describe_endpoint(EndpointName=environment.config.endpoint_name)
        return endpoint, sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])

    before, config_before = served()
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=environment.config.endpoint_name,
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}],
    )
    released(retraining, data)
    after, config_after = served()
    assert after["EndpointConfigName"] != before["EndpointConfigName"]
    assert config_after["DataCaptureConfig"] == config_before["DataCaptureConfig"]
    assert after["ProductionVariants"][0]["DesiredInstanceCount"] == 3


def test_a_model_that_fails_its_smoke_test_is_rolled_back(
    retraining: Retraining, data: DataSet, inbox: Inbox, cloud: LocalCloud, environment: Environment
) -> None:
    """It passed the gate and its alarms are silent, but known images get other answers."""
    before = retraining.served_artifact()
    prepare(retraining, data)
    arn = retraining.start(force=True)
    wait_for(lambda: "ReleaseModel" in retraining.states(arn) or None, "the release")
    job = boto3.client("sagemaker").list_training_jobs()["TrainingJobSummaries"][-1]["TrainingJobName"]
    stored = boto3.client("s3").get_object(Bucket=environment.bucket, Key=f"models/{job}/smoke_test.json")
    first = json.loads(stored["Body"].read())["images"][0]["key"]
    asked = ImageRef(environment.bucket, first, "smoke-test").inference_id
    cloud.order_faults(environment.config.endpoint_name, Fault(status=200, body="[0.5, 0.5]", inference_id=asked))
    run = retraining.follow(arn)
    assert run.error == "ReleaseRolledBack", (run.states, run.cause)
    assert "SmokeTestFailedError" in run.cause
    assert retraining.served_artifact() == before
    assert f"serves {job_of(before)} again" in message(inbox)["Message"]


def test_a_rollback_restores_the_model_and_the_next_deployment_keeps_it(
    retraining: Retraining, data: DataSet, cloud: LocalCloud, assembly: Path, environment: Environment
) -> None:
    released(retraining, data)
    first = retraining.served_artifact()
    deployment.deploy(cloud, assembly, "dev/Model")
    assert retraining.served_artifact() == first, "a deployment must keep what was released"
    data.keep(0.8)  # never served, so that what was served before it is the first
    run = retraining.run(force=True)
    assert run.outcome == "Released", (run.states, run.cause)
    second = retraining.served_artifact()
    assert second != first
    ops(cloud, "rollback", "--env", "dev")
    assert retraining.served_artifact() == first
    deployment.deploy(cloud, assembly, "dev/Model")
    assert retraining.served_artifact() == first, "a deployment must keep what was rolled back to"
    ops(cloud, "rollback", "--env", "dev", "--to", job_of(second))
    assert retraining.served_artifact() == second
    deployment.deploy(cloud, assembly, "dev/Model")
    assert retraining.served_artifact() == second


def test_a_prediction_leads_back_to_its_data(
    retraining: Retraining, data: DataSet, cloud: LocalCloud, environment: Environment, dataset: Path
) -> None:
    for image in labelled_images(dataset, environment.config.classes, at_most=6):
        execution = environment.classify([image.key])
        if execution.status == "SUCCEEDED":
            break
    key = execution.manifest["outcomes"][0]["prediction_key"]
    found = json.loads(ops(cloud, "lineage", key, "--env", "dev", "--json"))
    (model,) = found["models"]
    assert model["artifact_uri"] == retraining.served_artifact()
    assert model["training_job"] == job_of(retraining.served_artifact())
    assert len(model["data_digest"]) == 64
    assert 0.5 < model["accuracy"] <= 1


def test_approval_is_waited_for(retraining: Retraining, data: DataSet, inbox: Inbox) -> None:
    prepare(retraining, data)
    before = retraining.served_artifact()
    for answer, outcome in (("Rejected", "NotApproved"), ("Approved", "Released")):
        arn = retraining.start(force=True, approval=True)
        package = wait_for(_waiting_package, "a model package that waits")
        assert retraining.served_artifact() == before
        boto3.client("sagemaker").update_model_package(ModelPackageArn=package, ModelApprovalStatus=answer)  # type: ignore[arg-type]
        run = retraining.follow(arn)
        assert run.outcome == outcome, (run.states, run.cause)
        assert package in inbox.messages()[0]["Message"]


def _waiting_package() -> str | None:
    packages = boto3.client("sagemaker").list_model_packages(
        ModelPackageGroupName="scones-dev", ModelApprovalStatus="PendingManualApproval"
    )["ModelPackageSummaryList"]
    return packages[0]["ModelPackageArn"] if packages else None


def test_a_marker_starts_a_run(retraining: Retraining, data: DataSet) -> None:
    known = set(retraining.executions())
    data.announce()
    (arn,) = wait_for(lambda: set(retraining.executions()) - known or None, "a run that the marker starts")
    run = retraining.follow(arn)
    assert run.output["trigger"] == "data"


def test_a_storm_of_alarms_changes_nothing_while_a_run_is_under_way(
    retraining: Retraining, data: DataSet, inbox: Inbox, environment: Environment
) -> None:
    prepare(retraining, data)
    arn = retraining.start(force=True, approval=True)
    package = wait_for(_waiting_package, "a model package that waits")
    known = set(retraining.executions())
    inbox.messages()
    client = boto3.client("cloudwatch")
    for _ in range(5):
        for state in ("OK", "ALARM"):
            client.set_alarm_state(
                AlarmName=environment.config.drift_alarm_name,
                StateValue=state,
                StateReason="a test",
            )
    started = wait_for(lambda: new if len(new := set(retraining.executions()) - known) >= 5 else None, "five runs")
    assert [retraining.follow(run).outcome for run in started] == ["AlarmIgnored"] * 5
    boto3.client("sagemaker").update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
    assert retraining.follow(arn).outcome == "NotApproved"


# In their order; a run that ends after any of them is taken up by the next
STEPS = [
    "RetrainingGuard",
    "ValidateDataSet",
    "PrepareTraining",
    "TrainCandidate",
    "PrepareEvaluation",
    "EvaluateBoth",
    "EvaluateModels",
    "ReleaseModel",
    "WaitForEndpoint",
    "ReadEndpoint",
    "SmokeTest",
    "RecordRelease",
]


def test_a_run_that_crashed_after_any_step_is_finished_by_the_next(
    retraining: Retraining, data: DataSet, environment: Environment
) -> None:
    for _ in JOBS:  # so that both models are trained
        released(retraining, data)
    client = boto3.client("stepfunctions")
    whole = client.describe_state_machine(stateMachineArn=retraining.state_machine_arn)["definition"]
    try:
        for step in STEPS:
            definition = json.loads(whole)
            definition["States"][step]["Next"] = "Crash"
            definition["States"]["Crash"] = {"Type": "Fail", "Error": "Crash"}
            client.update_state_machine(stateMachineArn=retraining.state_machine_arn, definition=json.dumps(definition))
            if step == "TrainCandidate":
                data.keep(0.85)  # a data set that nothing was trained on
            else:
                share = prepare(retraining, data)
            crashed = retraining.run(force=True)
            assert (crashed.error, crashed.states[-2:]) == ("Crash", [step, "Crash"]), (step, crashed.cause)
            client.update_state_machine(stateMachineArn=retraining.state_machine_arn, definition=whole)
            again = retraining.run(force=True)
            assert "TrainCandidate" not in again.states, "a job that is paid for is not done again"
            assert again.outcome == ("NothingNew" if step == "RecordRelease" else "Released"), (step, again.states)
            if step != "TrainCandidate":
                JOBS[share] = again.output["training"]["job"]
            assert retraining.served_artifact() == retraining.named_artifact(), step
    finally:
        client.update_state_machine(stateMachineArn=retraining.state_machine_arn, definition=whole)


def ops(cloud: LocalCloud, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        cwd=PROJECT_ROOT,
        env=cloud.environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout
