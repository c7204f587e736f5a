"""The drift scenario: normal traffic raises no alarm, drifted traffic raises one, which reaches the operators.

Every step is the same as in production: the workflow classifies images from the bucket, the endpoint captures its
requests, the drift monitor evaluates the captures and publishes its metric, and the alarm notifies the topic.
"""

import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from data_prep.options import EnvironmentName
from lambda_src.monitoring.drift import compare
from lambda_src.shared.baseline import Baseline, Tally
from local.cloud import LocalCloud, LocalCloudError
from local.demonstration import Environment, Inbox, UnexpectedError, labelled_images, wait_for
from local.lifecycle import deployed
from local.options import Archive, Keep
from local.prepare import data_set_of
from local.report import write_report
from local.terminal import say, stage
from stacks.config import EnvironmentConfig, load_environment
from stacks.shared import prefixes

Picture = Image.Image
Change = Callable[[Picture, np.random.Generator], Picture]


@dataclass(frozen=True)
class Phase:
    """The results of one kind of traffic: the drift monitor's report, the alarm, and the operators' messages."""

    images: int
    rejected: int
    report: dict[str, Any]
    alarm_state: str
    alarms: list[dict[str, Any]]


def drift(env: EnvironmentName = "dev", archive: Archive = None, keep: Keep = True) -> None:
    """Send normal, then drifted traffic: the metric crosses the bound, the alarm fires, the message arrives.

    Writes a report on both to build/ENV-drift.html. Uses the running local cloud, if there is one; its drift alarm must
    not be in ALARM.
    """
    config = load_environment(env)
    with deployed(config, archive, keep=keep) as cloud:
        show_drift(cloud, config)


def show_drift(cloud: LocalCloud, config: EnvironmentConfig) -> None:
    """Run the scenario in the deployed environment, print the results and write the report."""
    cloud.enforce_iam()
    environment = Environment.deployed(config)
    data_set = data_set_of(environment)
    started = datetime.now(UTC).replace(microsecond=0)
    with stage("Drift: normal traffic, then pictures taken at night"):
        run_scenario(environment, data_set, _show_phase)
    write_report(cloud, config, f"{config.name}-drift", since=started)


def _show_phase(title: str, phase: Phase) -> None:
    report = phase.report
    say(f"\n{title}")
    say(f"  {phase.images} images, {phase.rejected} rejected")
    say(f"  drift monitor: PSI {report['score']:.3f} (bound {report['bound']}), verdict {report['verdict']}")
    for name in ("confidence", "classes"):
        found = report[name]
        say(f"    {name:10} PSI {found['psi']:.3f}; baseline {found['baseline_counts']}, window {found['counts']}")
    say(f"  alarm: {phase.alarm_state}")
    for alarm in phase.alarms:
        say(f"  SNS message: {alarm['AlarmName']} is {alarm['NewStateValue']}: {alarm['NewStateReason']}")
        say(f"    {alarm['AlarmDescription']}")


def run_scenario(environment: Environment, dataset: Path, show: Callable[[str, Phase], None]) -> None:
    """Send both kinds of traffic and show the results of each; raises UnexpectedError if they are wrong.

    Raises LocalCloudError if the drift alarm is in ALARM already: it covers the last hour, so it could not fire again.
    """
    if _alarm_state(environment) == "ALARM":
        raise LocalCloudError(
            f"the alarm {alarm_name(environment)} is in ALARM already, after drift in the last hour, so this "
            "scenario could not show it firing: `python -m local down`, then run this again"
        )
    inbox = Inbox(environment.alert_topic_arn)
    sources = labelled_images(dataset, environment.config.classes, at_most=200)
    files = [dataset / image.key for image in sources]
    copies = math.ceil(minimum_requests(environment) / len(files))

    normal = _phase(environment, inbox, _pictures(files, copies, as_usual), name="as-usual")
    show("Normal traffic: the validation images, mirrored and a little lighter or darker", normal)
    if normal.alarm_state == "ALARM" or normal.report["verdict"] not in {"stable", "watch"}:
        raise UnexpectedError(f"normal traffic is taken for drift: {normal.report}")
    if normal.alarms:
        raise UnexpectedError(f"an alarm without a reason: {normal.alarms}")

    drifted = _phase(environment, inbox, _pictures(files, copies, at_night), name="at-night")
    show("Drifted traffic: the same images at night, dark and grainy", drifted)
    if drifted.report["verdict"] != "drift" or drifted.alarm_state != "ALARM":
        raise UnexpectedError(f"drifted traffic is not detected, the alarm is {drifted.alarm_state}: {drifted.report}")
    if [alarm["AlarmName"] for alarm in drifted.alarms] != [alarm_name(environment)]:
        raise UnexpectedError(f"the topic should have one message of the drift alarm, not {drifted.alarms}")


def alarm_name(environment: Environment) -> str:
    return f"{environment.config.stage_name}-drift"


def minimum_requests(environment: Environment) -> int:
    """The number of requests that the drift monitor needs in a window, for the stored baseline."""
    key = boto3.client("ssm").get_parameter(Name=environment.config.baseline_parameter)["Parameter"]["Value"]
    stored = boto3.client("s3").get_object(Bucket=environment.bucket, Key=key)["Body"].read()
    baseline, bound = Baseline.from_json(stored), environment.config.monitoring.drift_bound
    return compare(baseline, Tally(baseline.confidence_edges, len(baseline.classes)), bound=bound).minimum


def as_usual(picture: Picture, chance: np.random.Generator) -> Picture:
    """A variation of the picture with the same lighting."""
    return ImageEnhance.Brightness(ImageOps.mirror(picture)).enhance(chance.uniform(0.95, 1.05))


def at_night(picture: Picture, chance: np.random.Generator) -> Picture:
    """A quarter of the light, with the noise of a camera that amplifies it."""
    dark = np.asarray(picture, dtype=np.float64) * 0.25
    noisy = dark + chance.normal(0, 8, dark.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _pictures(files: list[Path], copies: int, change: Change) -> dict[str, bytes]:
    """Changed copies of the files as PNG, by name. They are the same in each run."""
    chance = np.random.default_rng(1)
    pictures = {}
    for copy in range(copies):
        for file in files:
            buffer = io.BytesIO()
            with Image.open(file) as picture:
                change(picture.convert("RGB"), chance).save(buffer, "PNG")
            pictures[f"{copy}/{PurePosixPath(file).name}"] = buffer.getvalue()
    return pictures


def _phase(environment: Environment, inbox: Inbox, pictures: dict[str, bytes], *, name: str) -> Phase:
    """Classify the pictures, then run the drift monitor on their captures."""
    prefix = f"{prefixes.SCHEDULED}{name}/"
    s3 = boto3.client("s3")
    for path, body in pictures.items():
        s3.put_object(Bucket=environment.bucket, Key=f"{prefix}{path}", Body=body)
    known = len(environment.recorded_inference_ids())
    start = _next_second()
    execution = environment.execute({"s3_bucket": environment.bucket, "s3_prefix": prefix})
    if execution.counts["FAILED"]:
        raise UnexpectedError(f"{execution.counts['FAILED']} images failed: {execution.arn}")
    expected = known + len(pictures)
    wait_for(lambda: len(environment.recorded_inference_ids()) >= expected or None, f"{len(pictures)} captures")
    report = check_for_drift(environment, start=start, end=_next_second())
    alarm_state = _alarm_state(environment)
    alarms = []
    if alarm_state == "ALARM":
        alarms = wait_for(lambda: inbox.alarms() or None, "the alarm's message")
    return Phase(
        images=len(pictures),
        rejected=execution.counts["REJECTED"],
        report=report,
        alarm_state=alarm_state,
        alarms=alarms or inbox.alarms(),
    )


def _alarm_state(environment: Environment) -> str:
    (alarm,) = boto3.client("cloudwatch").describe_alarms(AlarmNames=[alarm_name(environment)])["MetricAlarms"]
    return str(alarm["StateValue"])


def check_for_drift(environment: Environment, *, start: datetime, end: datetime) -> dict[str, Any]:
    """Run the drift monitor for this window, as the schedule does every hour, and return its report."""
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=f"{environment.config.stage_name}-Monitoring")[
        "Stacks"
    ]
    (name,) = [output["OutputValue"] for output in stack["Outputs"] if output["OutputKey"] == "DriftMonitorName"]
    response = boto3.client("lambda").invoke(
        FunctionName=name, Payload=json.dumps({"time": end.isoformat(), "start": start.isoformat()}).encode()
    )
    report: dict[str, Any] = json.loads(response["Payload"].read())
    if "FunctionError" in response:
        raise UnexpectedError(f"the drift monitor failed: {report}")
    return report


def _next_second() -> datetime:
    """Wait for the next whole second, because captures have times in whole seconds."""
    now = datetime.now(UTC)
    following = now.replace(microsecond=0) + timedelta(seconds=1)
    time.sleep((following - now).total_seconds())
    return following
