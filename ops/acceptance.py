"""Runs the whole life of an environment with one command, on AWS or in the local cloud, and reports what it confirms.

docs/fidelity.md lists behaviour of AWS that cannot be checked without an account. A row that names a phase of this run
is confirmed once the phase passes in an account.
"""

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_prep.errors import DataPrepError
from data_prep.options import ArchivePath, Synthetic
from data_prep.target import Target, current_target
from data_prep.terminal import print_whole
from lambda_src.shared.json_reader import read_json
from lambda_src.shared.text import shortened
from ops import aws, deploy, destroy, retraining
from ops.cdk import App, assembly
from ops.errors import OpsError
from ops.outputs import stack_outputs
from stacks.config import PROJECT_ROOT, EnvironmentConfig, load_environment
from stacks.shared import prefixes
from stacks.shared.prices import price_list

FIDELITY = PROJECT_ROOT / "docs" / "fidelity.md"
IMAGES = 20
_TIMEOUT_SECONDS = 2 * 3600  # a transform job waits for its instance


@dataclass(frozen=True)
class Trial:
    """The environment of the run, and what it is deployed from."""

    config: EnvironmentConfig
    archive: Path | None
    synthetic: bool
    app: Path  # the cloud assembly

    @property
    def bucket(self) -> str:
        return aws.bucket(self.config)

    def output(self, stack: str, key: str) -> str:
        return aws.output(self.config, stack, key)

    def keys(self, prefix: str) -> list[str]:
        pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def execute(self, state_machine_arn: str, execution_input: dict[str, Any]) -> dict[str, Any]:
        """The manifest of an execution, after it has ended. Rejected images do not count as a failure."""
        name = f"acceptance-{uuid.uuid4()}"
        arn = aws.stepfunctions().start_execution(
            stateMachineArn=state_machine_arn, name=name, input=json.dumps(execution_input)
        )["executionArn"]
        *_, last = retraining.entered_states(aws.stepfunctions(), arn)
        described = aws.stepfunctions().describe_execution(executionArn=arn)
        if described["status"] != "SUCCEEDED" and described.get("error") != "InferencesRejected":
            raise OpsError(f"{arn} ended in {last}: {described.get('error')}: {described.get('cause')}")
        return self.manifest(name)

    def manifest(self, name: str) -> dict[str, Any]:
        key = f"{prefixes.MANIFESTS}{name}.json"
        return read_json(aws.s3().get_object(Bucket=self.bucket, Key=key)["Body"], name=key)


@dataclass(frozen=True)
class Phase:
    """A part of the run. `run` returns a sentence about what it saw; raises OpsError."""

    name: str
    run: Callable[[Trial], str]


@dataclass(frozen=True)
class Result:
    """How a phase ended."""

    phase: str
    passed: bool
    seconds: float
    seen: str


def _deploy(trial: Trial) -> str:
    deploy.deploy(trial.config.name, trial.archive, trial.synthetic, app=trial.app)
    return f"endpoint {trial.config.endpoint_name} serves {_served_artifact(trial)}"


def _classify(trial: Trial) -> str:
    """Start an execution with a list, and another one by an upload."""
    keys = trial.keys(prefixes.TEST)[:IMAGES]
    images = [{"image_data": "", "s3_bucket": trial.bucket, "s3_key": key} for key in keys]
    machine = trial.output("Workflow", "StateMachineArn")
    outcomes = trial.execute(machine, {"images": images})["outcomes"]
    if [outcome["s3_key"] for outcome in outcomes] != keys:
        raise OpsError(f"{len(keys)} images were sent, and the manifest has {len(outcomes)} outcomes")
    accepted = sum(outcome["outcome"] == "ACCEPTED" for outcome in outcomes)
    return f"{len(keys)} images have an outcome, {accepted} accepted; an upload: {_upload(trial, keys[0])}"


def _upload(trial: Trial, key: str) -> str:
    known = set(trial.keys(prefixes.MANIFESTS))
    target = f"{prefixes.INCOMING}acceptance-{uuid.uuid4()}.png"
    aws.s3().copy_object(Bucket=trial.bucket, Key=target, CopySource={"Bucket": trial.bucket, "Key": key})

    def manifest() -> dict[str, Any] | None:
        new = [found for found in trial.keys(prefixes.MANIFESTS) if found not in known]
        return trial.manifest(new[0].removeprefix(prefixes.MANIFESTS).removesuffix(".json")) if new else None

    (outcome,) = _wait_for(manifest, f"the manifest of {target}")["outcomes"]
    return str(outcome["outcome"])


def _bulk(trial: Trial) -> str:
    return _run_bulk(trial, "DistributedMapArn")


def _transform(trial: Trial) -> str:
    return _run_bulk(trial, "BatchTransformArn")


def _run_bulk(trial: Trial, output: str) -> str:
    images = len(trial.keys(prefixes.TEST))
    counts = trial.execute(trial.output("Bulk", output), {"s3_prefix": prefixes.TEST})["counts"]
    if sum(counts.values()) != images or counts["FAILED"]:
        raise OpsError(f"{images} images lie below {prefixes.TEST}, and the outcomes are {counts}")
    return f"{images} images: {counts['ACCEPTED']} accepted, {counts['REJECTED']} rejected"


def _drift(trial: Trial) -> str:
    response = aws.lambda_().invoke(
        FunctionName=trial.output("Monitoring", "DriftMonitorName"),
        Payload=json.dumps({"time": datetime.now(UTC).isoformat()}).encode(),
    )
    if "FunctionError" in response:
        raise OpsError(f"the drift monitor failed: {shortened(response['Payload'].read().decode(), 500)}")
    report = read_json(response["Payload"], name="the drift monitor's report")
    return f"{report['requests']} captured requests, {report['verdict']}"


def _retrain(trial: Trial) -> str:
    """Retrain without one of the images, so that the data is new; a thread approves the candidate."""
    before = _served_artifact(trial)
    key = f"{prefixes.TRAIN_LST}train.lst"
    lines = aws.s3().get_object(Bucket=trial.bucket, Key=key)["Body"].read().splitlines(keepends=True)
    aws.s3().put_object(Bucket=trial.bucket, Key=key, Body=b"".join(lines[:-1]))
    aws.s3().delete_object(Bucket=trial.bucket, Key="manifest.json")  # the manifest of the original data set
    with _approving(trial.config):
        retraining.retrain(trial.config.name, force=True, approval=True)
    after = _served_artifact(trial)
    if after == before:
        raise OpsError(f"the endpoint still serves {before}")
    return f"trained, evaluated, approved and released: {after}"


def _roll_back(trial: Trial) -> str:
    before = _served_artifact(trial)
    retraining.rollback(trial.config.name)
    after = _served_artifact(trial)
    if after == before:
        raise OpsError(f"the endpoint still serves {before}")
    return f"serves {after} again"


def _destroy(trial: Trial) -> str:
    destroy.destroy(trial.config.name, data=True, yes=True, app=trial.app)
    if left := stack_outputs(trial.config):
        raise OpsError(f"these stacks are still there: {', '.join(left)}")
    return "no stack is left"


PHASES = (
    Phase("deploy", _deploy),
    Phase("classify", _classify),
    Phase("bulk", _bulk),
    Phase("transform", _transform),
    Phase("drift", _drift),
    Phase("retrain", _retrain),
    Phase("roll back", _roll_back),
    Phase("destroy", _destroy),
    Phase("deploy again", _deploy),
    Phase("destroy again", _destroy),
)


def acceptance(
    env: Annotated[str, typer.Option("--env", help="An environment of cdk.json that is not deployed.")],
    archive: ArchivePath = None,
    synthetic: Synthetic = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    app: App = None,
) -> None:
    """Deploy an environment, use, retrain, roll back and destroy it, twice; report what that confirmed and its cost."""
    config, target = load_environment(env), current_target()
    if stack_outputs(config):
        raise OpsError(f"environment {env!r} is deployed in {target}, and this destroys it: choose another one")
    question = f"This deploys and destroys environment {env} in {target}, which costs money. Type its name to go on"
    if not yes and typer.prompt(question) != env:
        raise OpsError("nothing was deployed")
    started = datetime.now(UTC)
    trial = Trial(config, archive, synthetic, assembly(env, app))
    results = list(_results(trial))
    report = report_of(config, target, results, costs=_costs(config, since=started))
    path = PROJECT_ROOT / "build" / f"acceptance-{env}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(report, encoding="utf-8")
    _show(results)
    typer.echo(f"Report: {path.relative_to(PROJECT_ROOT)}")
    if failed := [result for result in results if not result.passed]:
        raise OpsError(f"{failed[0].phase}: {failed[0].seen}")


def _results(trial: Trial) -> Iterator[Result]:
    """The results of the phases up to the first that fails. The environment is destroyed in any case."""
    for phase in PHASES:
        result = _result(phase, trial)
        yield result
        if not result.passed:
            if stack_outputs(trial.config):
                yield _result(Phase("destroy", _destroy), trial)
            return


def _result(phase: Phase, trial: Trial) -> Result:
    typer.secho(f"\n==== {phase.name}", bold=True)
    started = time.monotonic()
    try:
        seen, passed = phase.run(trial), True
    except (OpsError, DataPrepError, ClientError, BotoCoreError) as error:
        seen, passed = str(error), False
    return Result(phase.name, passed, time.monotonic() - started, seen)


def _served_artifact(trial: Trial) -> str:
    endpoint = aws.sagemaker().describe_endpoint(EndpointName=trial.config.endpoint_name)
    config = aws.sagemaker().describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = aws.sagemaker().describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    return str(model["PrimaryContainer"]["ModelDataUrl"])


@contextmanager
def _approving(config: EnvironmentConfig) -> Iterator[None]:
    """Approve every model package that becomes pending, as an operator would."""
    stopped = threading.Event()

    def approve() -> None:
        while not stopped.wait(retraining.POLL_SECONDS):
            waiting = aws.sagemaker().list_model_packages(
                ModelPackageGroupName=config.model_package_group, ModelApprovalStatus="PendingManualApproval"
            )
            for package in waiting["ModelPackageSummaryList"]:
                aws.sagemaker().update_model_package(
                    ModelPackageArn=package["ModelPackageArn"], ModelApprovalStatus="Approved"
                )

    thread = threading.Thread(target=approve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _wait_for(condition: Callable[[], dict[str, Any] | None], what: str) -> dict[str, Any]:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(retraining.POLL_SECONDS)
    raise OpsError(f"{what} did not come within {_TIMEOUT_SECONDS} s")


@dataclass(frozen=True)
class Cost:
    """Instances that are billed by the second."""

    what: str
    instance_type: str
    seconds: float

    @property
    def dollars(self) -> float | None:
        """None if stacks/shared/prices.json has no price of the instance type."""
        price = price_list()["prices"].get(f"sagemaker.instance_hour.{self.instance_type}")
        return None if price is None else price * self.seconds / 3600


def _costs(config: EnvironmentConfig, *, since: datetime) -> list[Cost]:
    """Instances of the jobs. SageMaker keeps the jobs' descriptions after the environment is destroyed."""
    sagemaker, named = aws.sagemaker(), f"{config.stage_name}-"
    costs = []
    training = sagemaker.get_paginator("list_training_jobs").paginate(NameContains=named, CreationTimeAfter=since)
    for name in [job["TrainingJobName"] for page in training for job in page["TrainingJobSummaries"]]:
        job = sagemaker.describe_training_job(TrainingJobName=name)
        resources = job["ResourceConfig"]
        seconds = job.get("BillableTimeInSeconds", 0) * resources.get("InstanceCount", 1)
        costs.append(Cost(name, resources.get("InstanceType", "unknown"), seconds))
    transform = sagemaker.get_paginator("list_transform_jobs").paginate(NameContains=named, CreationTimeAfter=since)
    for name in [summary["TransformJobName"] for page in transform for summary in page["TransformJobSummaries"]]:
        described = sagemaker.describe_transform_job(TransformJobName=name)
        instances, started = described["TransformResources"], described.get("TransformStartTime")
        took = (described.get("TransformEndTime", started) - started).total_seconds() if started else 0
        costs.append(Cost(name, instances["InstanceType"], took * instances["InstanceCount"]))
    return costs


def confirmations(results: list[Result], fidelity: str) -> list[tuple[str, str, bool | None]]:
    """Behaviour of each unverified row, its phase ("" for none), and whether the phase passed (None: not reached)."""
    passed = {result.phase: result.passed for result in results}
    rows = []
    for line in fidelity.splitlines():
        if line.startswith("|") and re.search(r"\*\*unverified\*\*", line, flags=re.IGNORECASE):
            behaviour = line.split("|")[1].strip()
            named = re.search(r"acceptance: ([a-z ]*[a-z])", line)
            phase = named[1] if named else ""
            rows.append((behaviour, phase, passed.get(phase)))
    return rows


def report_of(config: EnvironmentConfig, target: Target, results: list[Result], *, costs: list[Cost]) -> str:
    """The report, as Markdown."""
    against = "the local cloud, which confirms nothing of AWS" if target.is_local else str(target)
    lines = [f"# Acceptance of {config.name}", "", f"Against {against}.", "", "## Phases", ""]
    lines += ["| Phase | | Seconds | Seen |", "|---|---|---|---|"]
    lines += [
        f"| {result.phase} | {'passed' if result.passed else 'FAILED'} | {result.seconds:.0f} | {_cell(result.seen)} |"
        for result in results
    ]
    lines += ["", "## Unverified rows of docs/fidelity.md", "", "| Behaviour | Phase | |", "|---|---|---|"]
    verdicts = {True: "passed" if target.is_local else "confirmed", False: "NOT confirmed", None: "not reached"}
    lines += [
        f"| {behaviour} | {phase or '-'} | {verdicts[passed] if phase else 'no phase shows it'} |"
        for behaviour, phase, passed in confirmations(results, FIDELITY.read_text(encoding="utf-8"))
    ]
    lines += ["", "## Cost of its jobs", "", "| Job | Instance | Seconds | USD |", "|---|---|---|---|"]
    lines += [
        f"| {cost.what} | {cost.instance_type} | {cost.seconds:.0f} | "
        f"{'unknown' if cost.dollars is None else f'{cost.dollars:.2f}'} |"
        for cost in costs
    ]
    lines += ["", "By stacks/shared/prices.json; the endpoint's hours, requests and storage come on top.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _show(results: list[Result]) -> None:
    table = Table("phase", "", "seconds", "seen", box=None, header_style="bold", pad_edge=False)
    for result in results:
        mark = "[green]✓[/]" if result.passed else "[red]✗[/]"
        table.add_row(result.phase, mark, f"{result.seconds:.0f}", escape(result.seen))
    print_whole(Console(highlight=False), table)
