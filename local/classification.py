"""The command `run`: classifies test images in the deployed workflow, and checks and shows the outcomes."""

from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import boto3
from rich.table import Table
from rich.text import Text

from data_prep.options import EnvironmentName
from data_prep.terminal import print_whole, visible
from local.cloud import LocalCloud, running_cloud
from local.demonstration import (
    Environment,
    Execution,
    Inbox,
    LabelledImage,
    UnexpectedError,
    check_execution,
    labelled_images,
    wait_for,
)
from local.prepare import data_set_of
from local.report import write_report
from local.terminal import console, say, stage
from stacks.config import EnvironmentConfig
from stacks.shared import prefixes

LISTED_IMAGES = 60
MESSAGE_LINES = 8  # shown of each message


def run(env: EnvironmentName = "dev") -> None:
    """Classify test images through the deployed workflow, with IAM enforced, and check the results."""
    cloud, config = running_cloud(env)
    classify(cloud, config)


def classify(cloud: LocalCloud, config: EnvironmentConfig) -> None:
    environment = Environment.deployed(config)
    data_set = data_set_of(environment)
    inbox = Inbox(environment.alert_topic_arn)
    images = labelled_images(data_set, config.classes, at_most=LISTED_IMAGES + 1)
    listed, uploaded = images[:-1], images[-1]
    data = boto3.client("s3").get_object(Bucket=environment.bucket, Key=uploaded.key)["Body"].read()
    if environment.keys(prefixes.PREDICTIONS):
        # Stored predictions may be another model's; new versions of the images have none
        for image in listed:
            body = (data_set / image.key).read_bytes()
            boto3.client("s3").put_object(Bucket=environment.bucket, Key=image.key, Body=body)
    cloud.enforce_iam()

    with stage(f"Workflow over a list of {len(listed)} images, IAM enforced"):
        execution = environment.classify([image.key for image in listed])
    check_execution(environment, execution, [image.key for image in listed])
    with stage(f"Workflow started by an upload to {prefixes.INCOMING}"):
        name = PurePosixPath(uploaded.key).name
        by_upload = environment.classify_upload(name, data)
    incoming = LabelledImage(f"{prefixes.INCOMING}{name}", uploaded.true_class)
    check_execution(environment, by_upload, [incoming.key])
    with stage("Data capture of every request" if config.endpoint.captures else "Record of every prediction"):
        expected = len(listed) + 1
        wait_for(lambda: len(environment.recorded_inference_ids()) >= expected or None, f"{expected} predictions")

    truth = {image.key: image.true_class for image in (*listed, incoming)}
    outcomes = execution.manifest["outcomes"] + by_upload.manifest["outcomes"]
    _show_outcomes(outcomes, truth)
    _show_accuracy(outcomes, truth, config)
    _show_messages(inbox, [execution, by_upload])
    _show_places(environment, execution, by_upload)
    _report(cloud, config, environment, outcomes, truth)


def _show_outcomes(outcomes: list[dict[str, Any]], truth: dict[str, str]) -> None:
    colours = {"ACCEPTED": "green", "REJECTED": "yellow", "FAILED": "red"}
    table = Table("image", "true", "predicted", "confidence", "outcome", box=None, header_style="bold", pad_edge=False)
    table.columns[3].justify = "right"
    for outcome in outcomes:
        label, true_class = outcome["label"], truth[outcome["s3_key"]]
        table.add_row(
            Text(visible(outcome["s3_key"])),
            true_class,
            label if label == true_class else f"[red]{label}[/]",
            f"{outcome['confidence']:.3f}",
            f"[{colours[outcome['outcome']]}]{outcome['outcome']}[/]",
        )
    console.print()
    print_whole(console, table)


def _show_accuracy(outcomes: list[dict[str, Any]], truth: dict[str, str], config: EnvironmentConfig) -> None:
    def accuracy(selected: list[dict[str, Any]]) -> str:
        correct = sum(outcome["label"] == truth[outcome["s3_key"]] for outcome in selected)
        return f"{correct} of {len(selected)} correct ({correct / len(selected):.1%})" if selected else "none"

    accepted = [outcome for outcome in outcomes if outcome["outcome"] == "ACCEPTED"]
    say(f"\nAll images: {accuracy(outcomes)}")
    say(f"Accepted, confidence at least {config.confidence_threshold}: {accuracy(accepted)}")
    say(f"Rejected: {len(outcomes) - len(accepted)}")


def _show_messages(inbox: Inbox, executions: list[Execution]) -> None:
    expected = sum(execution.counts["REJECTED"] > 0 for execution in executions)
    messages: list[dict[str, str]] = []

    def arrived() -> bool | None:
        messages.extend(inbox.messages())
        return True if len(messages) >= expected else None

    wait_for(arrived, f"{expected} messages of the alert topic")
    if len(messages) > expected:
        raise UnexpectedError(f"{len(messages)} messages of the alert topic instead of {expected}")
    for message in messages:
        say(f"\nSNS message: {message['Subject']}")
        lines = message["Message"].splitlines()
        for line in lines[:MESSAGE_LINES]:
            say(f"  {line}")
        if len(lines) > MESSAGE_LINES:
            say(f"  … and {len(lines) - MESSAGE_LINES} more lines")


def _show_places(environment: Environment, execution: Execution, by_upload: Execution) -> None:
    say("")
    for title, one in (("Executions:", execution), ("", by_upload)):
        # check_execution has checked that
        why = f", as expected with a rejected image ({one.error})" if one.error else ""
        say(f"{title:13} {one.status} in {one.seconds:.1f} s{why}")
    for name, prefix in (
        ("Predictions", prefixes.PREDICTIONS),
        ("Manifests", prefixes.MANIFESTS),
        ("Captures", f"{prefixes.DATA_CAPTURE}{environment.config.endpoint_name}/"),
    ):
        say(f"{name + ':':13} {len(environment.keys(prefix)):3} objects below s3://{environment.bucket}/{prefix}")


def _report(
    cloud: LocalCloud,
    config: EnvironmentConfig,
    environment: Environment,
    outcomes: list[dict[str, Any]],
    truth: dict[str, str],
) -> None:
    """Upload labels, as people would later, and write the report of captures and true classes."""
    environment.label(outcomes, truth)
    write_report(cloud, config, f"{config.name}-report", since=datetime.now(UTC) - timedelta(hours=1))
