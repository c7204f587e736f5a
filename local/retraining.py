"""The retraining scenario, and its parts: runs of the workflow, traffic on the endpoint, changes of the data set.

Drift starts a run. Wrong labels lead to a candidate that is rejected; correct labels lead to one that first fails its
canary and is then released. No request fails meanwhile.
"""

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from botocore.config import Config
from PIL import Image

from data_prep.options import EnvironmentName
from lambda_src.retraining.lst_file import ListLine, parse_lines
from local import drift
from local.cloud import LocalCloud, LocalCloudError
from local.demonstration import Environment, Inbox, UnexpectedError, labelled_images, wait_for
from local.lifecycle import deployed
from local.options import Archive, Keep
from local.prepare import data_set_of
from local.sagemaker.fault import Fault
from local.terminal import console, say
from stacks.config import load_environment
from stacks.shared import prefixes

RUN_TIMEOUT_SECONDS = 600  # training takes minutes on a busy machine
TRAIN_LIST = f"{prefixes.TRAIN_LST}train.lst"
TEST_LIST = f"{prefixes.TEST_LST}test.lst"
STORM = 3  # alarms during a run
CLIENTS = 12  # that send requests during a release
SLOW = Fault(delay_seconds=1.2, model_answers=True, on_canary=True)


def retrain(env: EnvironmentName = "dev", archive: Archive = None, keep: Keep = True) -> None:
    """Drift starts a run, one candidate is rejected, one fails its canary, one is released; no request fails.

    Uses the local cloud that runs, if there is one, and if the environment was never retrained in it.
    """
    config = load_environment(env)
    with deployed(config, archive, keep=keep) as cloud:
        environment = Environment.deployed(config)
        if Retraining.deployed(environment).executions():
            raise LocalCloudError(
                f"environment {env!r} has been retrained in this local cloud, maybe by its drift alarm, and this "
                "scenario begins before the first time: `python -m local down`, and run this again"
            )
        cloud.enforce_iam()
        data_set = data_set_of(environment)
        with console.status("Retraining") as status:
            run_scenario(environment, cloud, data_set, say, status.update)


def run_scenario(
    environment: Environment,
    cloud: LocalCloud,
    dataset: Path,
    report: Callable[[str], None],
    show: Callable[[str], None],
) -> None:
    """Run the scenario in an environment that was never retrained; raises UnexpectedError if a step fails.

    report: called with each line about what happened. show: called with what is in progress.
    """
    retraining = Retraining.deployed(environment)
    data = DataSet(environment.bucket, dataset)
    inbox = Inbox(environment.alert_topic_arn)
    images = labelled_images(dataset, environment.config.classes, at_most=10)
    bodies = [(dataset / image.key).read_bytes() for image in images]
    first = retraining.served_artifact()
    with Traffic(environment.config.endpoint_name, bodies) as traffic:
        report("\nNight falls, and the new pictures are labelled carelessly")
        data.relabel(0.45)
        _drift_starts_one_run(environment, retraining, dataset, report, show)

        report("\nThe pictures are labelled with care now, half of them taken at night; the new instance is slow")
        data.add_night()
        cloud.order_faults(environment.config.endpoint_name, *[SLOW] * 500)
        before = traffic.sent
        _check_run(retraining.follow(retraining.start(force=True), show), "RolledBack", report)
        report(f"  {traffic.sent - before} requests meanwhile, {len(traffic.failures)} failed")
        _expect(retraining.served_artifact() == first, "a release that is rolled back leaves what was served")

        report("\nThe instance is repaired, and the same run is started again")
        calm_down(environment, cloud)
        before = traffic.sent
        released = _check_run(retraining.follow(retraining.start(force=True), show), "Released", report)
        _expect("TrainCandidate" not in released.states, "a job that is paid for is not done again")
        report(f"  {traffic.sent - before} requests meanwhile, {len(traffic.failures)} failed")
        _expect(retraining.served_artifact() == retraining.named_artifact() != first, "the candidate is served")
        for message in inbox.messages():
            report(f"  SNS message: {message['Subject']}")
    report(f"\n{traffic.sent} requests to the endpoint in all, {len(traffic.failures)} failed")
    _expect(not traffic.failures, f"{len(traffic.failures)} requests failed, the first with {traffic.failures[:1]}")


def _drift_starts_one_run(
    environment: Environment,
    retraining: "Retraining",
    dataset: Path,
    report: Callable[[str], None],
    show: Callable[[str], None],
) -> None:
    """Send normal traffic, then pictures at night: of the runs that the alarms start, one proceeds, and is rejected."""
    known = set(retraining.executions())

    def started(count: int) -> set[str] | None:
        runs = set(retraining.executions()) - known
        return runs if len(runs) >= count else None

    def report_drift(_: str, phase: drift.Phase) -> None:
        found = phase.report
        report(f"  drift monitor: PSI {found['score']:.3f}, {found['verdict']}, alarm {phase.alarm_state}")

    show("Normal traffic, then pictures taken at night")
    drift.run_scenario(environment, dataset, report_drift)
    wait_for(lambda: started(1), "a run that the drift alarm starts")
    _storm(environment)
    runs = [retraining.follow(arn, show) for arn in wait_for(lambda: started(1 + STORM), "a run for each alarm")]
    outcomes = Counter(run.outcome for run in runs)
    report(f"  {STORM} more alarms follow at once; the runs that they start: {dict(outcomes)}")
    _expect(outcomes == {"Rejected": 1, "AlarmIgnored": STORM}, f"one run at a time, not {dict(outcomes)}")
    (rejected,) = [run for run in runs if run.outcome == "Rejected"]
    _check_run(rejected, "Rejected", report)
    _expect(rejected.output["trigger"] == "drift", f"the run was started by {rejected.output['trigger']}")


def _check_run(run: "Run", outcome: str, report: Callable[[str], None]) -> "Run":
    """Report a run, and raise UnexpectedError unless it had this outcome."""
    report("  " + " > ".join(dict.fromkeys(run.states)))
    evaluation = run.output.get("evaluation", {})
    for role in ("candidate", "incumbent"):
        if role in evaluation:
            result = evaluation[role]
            report(
                f"  {role}: accuracy {result['accuracy']:.3f}, calibration error {result['calibration_error']:.3f} "
                f"on {result['images']} validation images"
            )
    for reason in evaluation.get("reasons", []):
        report(f"  rejected: {reason}")
    if run.cause:
        report(f"  {run.cause}")
    _expect(
        run.outcome in {outcome, f"Notify{outcome}"}, f"{run.arn} ended in {run.outcome}, not {outcome}: {run.cause}"
    )
    return run


def _storm(environment: Environment) -> None:
    cloudwatch = boto3.client("cloudwatch")
    for _ in range(STORM):
        for state in ("OK", "ALARM"):
            cloudwatch.set_alarm_state(
                AlarmName=environment.config.drift_alarm_name, StateValue=state, StateReason="a storm of alarms"
            )


def calm_down(environment: Environment, cloud: LocalCloud) -> None:
    """End the alarms that ended an update: SageMaker starts no update while one is in ALARM."""
    cloud.let_a_minute_pass()
    names, cloudwatch = environment.config.update_alarm_names, boto3.client("cloudwatch")

    def is_calm() -> bool | None:
        # CloudWatch evaluates its alarms again, as after any request to the endpoint
        cloudwatch.put_metric_data(Namespace="Local", MetricData=[{"MetricName": "Tick", "Value": 1}])
        alarms = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
        return all(alarm["StateValue"] != "ALARM" for alarm in alarms) or None

    wait_for(is_calm, f"the end of the alarms {', '.join(names)}")


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise UnexpectedError(what)


@dataclass(frozen=True)
class Run:
    """One finished execution: its final state data, and the states that it entered."""

    arn: str
    status: str
    error: str
    cause: str
    output: dict[str, Any]
    states: list[str]

    @property
    def outcome(self) -> str:
        """The last state, such as Released or Rejected."""
        return self.states[-1]


@dataclass(frozen=True)
class Retraining:
    """The deployed workflow of an environment."""

    environment: Environment
    state_machine_arn: str

    @classmethod
    def deployed(cls, environment: Environment) -> "Retraining":
        stack = boto3.client("cloudformation").describe_stacks(StackName=f"{environment.config.stage_name}-Retraining")[
            "Stacks"
        ][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        return cls(environment, outputs["StateMachineArn"])

    def start(self, **execution_input: Any) -> str:
        """Start a run by hand; returns its ARN."""
        response = boto3.client("stepfunctions").start_execution(
            stateMachineArn=self.state_machine_arn, input=json.dumps(execution_input)
        )
        return response["executionArn"]

    def run(self, **execution_input: Any) -> Run:
        return self.follow(self.start(**execution_input))

    def follow(self, arn: str, show: Callable[[str], None] | None = None) -> Run:
        """Wait for the end of a run. show: called with each state that it enters, in their order."""
        client, shown = boto3.client("stepfunctions"), 0

        def ended() -> Run | None:
            nonlocal shown
            described = client.describe_execution(executionArn=arn)
            states = self.states(arn)
            if show:
                for state in states[shown:]:
                    show(f"The run is in {state}")
                shown = len(states)
            if described["status"] == "RUNNING":
                return None
            return Run(
                arn=arn,
                status=described["status"],
                error=described.get("error", ""),
                cause=described.get("cause", ""),
                output=json.loads(described.get("output") or "{}"),
                states=states,
            )

        return wait_for(ended, f"the end of {arn}", timeout_seconds=RUN_TIMEOUT_SECONDS)

    def states(self, arn: str) -> list[str]:
        """The states that a run has entered so far."""
        pages = boto3.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        return [
            event["stateEnteredEventDetails"]["name"]
            for page in pages
            for event in page["events"]
            if "stateEnteredEventDetails" in event
        ]

    def executions(self) -> list[str]:
        """The ARNs of all runs, oldest first."""
        pages = (
            boto3.client("stepfunctions")
            .get_paginator("list_executions")
            .paginate(stateMachineArn=self.state_machine_arn)
        )
        listed = [execution for page in pages for execution in page["executions"]]
        return [execution["executionArn"] for execution in sorted(listed, key=lambda e: e["startDate"])]

    def served_artifact(self) -> str:
        """The artifact behind the endpoint."""
        return self.environment.served_artifact()

    def named_artifact(self) -> str:
        """The artifact that the next deployment would serve."""
        name = self.environment.config.artifact_parameter
        return boto3.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]


class Traffic:
    """Requests to the endpoint, one after another from several threads, until stopped.

    The rate is high enough that each client reaches a canary, which lasts seconds here. These requests are more than 1
    % of all requests in the minute that the latency alarm evaluates.
    """

    def __init__(
        self, endpoint_name: str, images: list[bytes], *, clients: int = CLIENTS, pause_seconds: float = 2.0
    ) -> None:
        self._endpoint_name = endpoint_name
        self._images = images
        self._pause = pause_seconds
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.sent = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._send, args=(start,), daemon=True) for start in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _send(self, start: int) -> None:
        client = boto3.client("sagemaker-runtime", config=Config(retries={"total_max_attempts": 1}))
        number = start
        while not self._stopped.is_set():
            failure = ""
            try:
                client.invoke_endpoint(
                    EndpointName=self._endpoint_name,
                    ContentType="application/x-image",
                    Body=self._images[number % len(self._images)],
                )["Body"].read()
            except Exception as error:
                failure = repr(error)
            with self._lock:
                self.sent += 1
                if failure:
                    self.failures.append(failure)
            number += 1
            time.sleep(self._pause)


@dataclass(frozen=True)
class DataSet:
    """A data set in the bucket, whose list of training images can be changed and restored."""

    bucket: str
    folder: Path

    def restore(self) -> None:
        """Restore the list that data_prep uploaded."""
        for key in (TRAIN_LIST, TEST_LIST, "manifest.json"):
            self._put(key, (self.folder / key).read_bytes())

    def relabel(self, share: float) -> None:
        """Give a share of the training images the label of another class."""
        lines = self._lines(TRAIN_LIST)
        wrong = round(share * len(lines))
        labels = len({line.label for line in lines})
        self._write(
            TRAIN_LIST,
            [replace(line, label=(line.label + 1) % labels) if n < wrong else line for n, line in enumerate(lines)],
        )

    def keep(self, share: float) -> None:
        """Keep a share of the training images in the list, the same share of each class."""
        by_label: dict[int, list[ListLine]] = {}
        for line in self._lines(TRAIN_LIST):
            by_label.setdefault(line.label, []).append(line)
        self._write(
            TRAIN_LIST, [line for group in by_label.values() for line in group[: max(1, round(share * len(group)))]]
        )

    def add_night(self) -> None:
        """Replace every second training image by a version at night, and add one of each validation image."""
        train, test = self._lines(TRAIN_LIST), self._lines(TEST_LIST)
        self._write(
            TRAIN_LIST, [self._at_night(prefixes.TRAIN, line) if n % 2 else line for n, line in enumerate(train)]
        )
        first = max(line.index for line in test) + 1
        night = [replace(self._at_night(prefixes.TEST, line), index=first + n) for n, line in enumerate(test)]
        self._write(TEST_LIST, [*test, *night])

    def announce(self) -> None:
        """Write the marker for a complete data set, which starts retraining."""
        self._put(prefixes.READY_MARKER, b"")

    def _at_night(self, prefix: str, line: ListLine) -> ListLine:
        buffer = io.BytesIO()
        with Image.open(self.folder / prefix / line.path) as picture:
            drift.at_night(picture.convert("RGB"), np.random.default_rng(line.index)).save(buffer, "PNG")
        path = f"night_{line.path}"
        self._put(f"{prefix}{path}", buffer.getvalue())
        return replace(line, path=path)

    def _lines(self, key: str) -> list[ListLine]:
        text = (self.folder / key).read_text(encoding="utf-8")
        return [line for _, line in parse_lines(text.splitlines()) if isinstance(line, ListLine)]

    def _write(self, key: str, lines: list[ListLine]) -> None:
        self._put(key, "".join(f"{line}\n" for line in lines).encode())
        # data_prep's manifest no longer matches the data
        boto3.client("s3").delete_object(Bucket=self.bucket, Key="manifest.json")

    def _put(self, key: str, body: bytes) -> None:
        boto3.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)
