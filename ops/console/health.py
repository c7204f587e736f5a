"""How the environment fares: its endpoint, the model that it serves, its alarms, drift."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lambda_src.retraining.release import job_of
from lambda_src.shared.json_reader import parse_json, read_json
from lambda_src.shared.release_history import PREFIX as RELEASES
from lambda_src.shared.release_history import Record
from ops import aws
from ops.paused import paused_since
from stacks.config import PROJECT_ROOT, EnvironmentConfig
from stacks.shared import prefixes

_DRIFT = f"{prefixes.MONITORING}drift/"  # a report an hour, by date


@dataclass(frozen=True)
class Endpoint:
    """Its status, and where that has a reason, the reason."""

    status: str
    instances: int | None  # None where it is serverless, or paused
    changed: datetime
    reason: str = ""


def endpoint(config: EnvironmentConfig, bucket: str) -> Endpoint:
    """As SageMaker describes it, unless it is paused: then it does not exist, if the pause was not interrupted."""
    since = paused_since(bucket)
    if since and aws.described_endpoint(config) is None:
        return Endpoint("Paused", None, since, "Images wait until it is resumed")
    described = aws.sagemaker().describe_endpoint(EndpointName=config.endpoint_name)
    variant: Mapping[str, Any] = next(iter(described.get("ProductionVariants", [])), {})
    return Endpoint(
        described["EndpointStatus"],
        variant.get("CurrentInstanceCount"),
        described["LastModifiedTime"],
        f"A pause since {since:%Y-%m-%d %H:%M} UTC goes on or was interrupted"
        if since
        else described.get("FailureReason", ""),
    )


@dataclass(frozen=True)
class Model:
    """The model in service, and since when; what the parameter says of it, if it is of this model."""

    job: str
    since: datetime
    metadata: Mapping[str, Any]


def model(config: EnvironmentConfig, bucket: str) -> Model | None:
    """What the release log names; None before the endpoint's first release."""
    record = _first_record_of_the_last_release(bucket)
    if record is None:
        return None
    job = job_of(record.artifact_uri)
    parameter = aws.ssm().get_parameter(Name=config.model_metadata_parameter)["Parameter"]["Value"]
    metadata = parse_json(parameter)
    is_of_this = isinstance(metadata, dict) and metadata.get("job") == job
    return Model(job, datetime.fromisoformat(record.time), metadata if is_of_this else {})


def _first_record_of_the_last_release(bucket: str) -> Record | None:
    """Reads from the newest record back to the one that put its model into service."""
    s3 = aws.s3()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=RELEASES)
    keys = sorted((entry["Key"] for page in pages for entry in page.get("Contents", [])), reverse=True)
    first = None
    for key in keys:
        record = Record(**read_json(s3.get_object(Bucket=bucket, Key=key)["Body"], name=key))
        if not record.is_in_service:
            continue
        if first and record.artifact_uri != first.artifact_uri:
            break
        first = record
    return first


@dataclass(frozen=True)
class Alarm:
    """One of the environment's alarms: `name` is also its section of the runbook."""

    name: str
    state: str
    since: datetime
    reason: str
    meaning: str


def alarm_names() -> list[str]:
    """What the alarms are called, after the environment's name: the runbook has a section for each."""
    return re.findall(r"^## ([a-z-]+)$", runbook(), flags=re.MULTILINE)


def runbook() -> str:
    """docs/runbook.md."""
    return (PROJECT_ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


def alarms(config: EnvironmentConfig) -> list[Alarm]:
    """In the runbook's order, those that are on first. By name: a listing would need every alarm's permission."""
    names = {f"{config.stage_name}-{name}": name for name in alarm_names()}
    described = aws.cloudwatch().describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm"])["MetricAlarms"]
    found = {
        names[alarm["AlarmName"]]: Alarm(
            names[alarm["AlarmName"]],
            alarm["StateValue"],
            alarm["StateUpdatedTimestamp"],
            alarm.get("StateReason", ""),
            alarm.get("AlarmDescription", "").partition(" What to do:")[0],
        )
        for alarm in described
    }
    in_order = [found[name] for name in names.values() if name in found]
    return sorted(in_order, key=lambda alarm: alarm.state != "ALARM")


@dataclass(frozen=True)
class DriftReport:
    """The drift monitor's newest report."""

    end: datetime
    verdict: str
    score: float
    bound: float
    requests: int


def drift(bucket: str, *, now: datetime | None = None) -> DriftReport | None:
    """Of today or yesterday; None if there is none."""
    today = now or datetime.now(UTC)
    s3 = aws.s3()
    for day in (today, today - timedelta(days=1)):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{_DRIFT}{day:%Y/%m/%d}/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        if keys:
            key = max(keys)
            found = read_json(s3.get_object(Bucket=bucket, Key=key)["Body"], name=key)
            end = datetime.fromisoformat(found["end"])
            return DriftReport(end, found["verdict"], found["score"], found["bound"], found["requests"])
    return None
