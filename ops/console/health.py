"""The health of the environment: its endpoint, the model in service, alarms and drift."""

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

_DRIFT = f"{prefixes.MONITORING}drift/"  # hourly reports, by date


@dataclass(frozen=True)
class Endpoint:
    """The endpoint's status, with SageMaker's reason if there is one."""

    status: str
    instances: int | None  # None if it is serverless or paused
    changed: datetime
    reason: str = ""


def endpoint(config: EnvironmentConfig, bucket: str) -> Endpoint:
    """The endpoint as SageMaker describes it. A paused endpoint does not exist, unless the pause was interrupted."""
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
    """The model in service, since when, and the metadata in the parameter if it describes this model."""

    job: str
    since: datetime
    metadata: Mapping[str, Any]


def model(config: EnvironmentConfig, bucket: str) -> Model | None:
    """The model that the release log names; None before the endpoint's first release."""
    record = _first_record_of_the_last_release(bucket)
    if record is None:
        return None
    job = job_of(record.artifact_uri)
    parameter = aws.ssm().get_parameter(Name=config.model_metadata_parameter)["Parameter"]["Value"]
    metadata = parse_json(parameter)
    is_of_this = isinstance(metadata, dict) and metadata.get("job") == job
    return Model(job, datetime.fromisoformat(record.time), metadata if is_of_this else {})


def _first_record_of_the_last_release(bucket: str) -> Record | None:
    """Read back from the newest record to the one that put its model into service."""
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
    """Names of the alarms without the environment's name. The runbook has a section for each."""
    return re.findall(r"^## ([a-z-]+)$", runbook(), flags=re.MULTILINE)


def runbook() -> str:
    """docs/runbook.md."""
    return (PROJECT_ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


def alarms(config: EnvironmentConfig) -> list[Alarm]:
    """Alarms in ALARM first, then in the runbook's order. A request by name needs no permission for others."""
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
    """The drift monitor's latest report."""

    end: datetime
    verdict: str
    score: float
    bound: float
    requests: int


def drift(bucket: str, *, now: datetime | None = None) -> DriftReport | None:
    """The latest report of today or yesterday; None if there is none."""
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
