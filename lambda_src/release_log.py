"""ReleaseLog: keeps what the endpoint serves, and since when.

Every change of the endpoint arrives here as an event, whoever made it: a deployment, a retraining, a rollback, or
SageMaker on its own. Event: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from lambda_src import aws, settings
from lambda_src.json_reader import read_json

PREFIX = "releases/"


@dataclass(frozen=True)
class Record:
    """The endpoint at one time: in service with an artifact, or on the way to it. `time` is ISO 8601 in UTC."""

    time: str
    status: str
    endpoint_config: str
    model: str
    artifact_uri: str

    @property
    def is_in_service(self) -> bool:
        return self.status == "IN_SERVICE"

    @property
    def key(self) -> str:
        """The same for every delivery of the event; keys sort by time."""
        return f"{PREFIX}{self.time}-{self.status}.json"


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Takes a SageMaker Endpoint State Change event."""
    record = record_of(event["detail"])
    aws.s3().put_object(
        Bucket=settings.release_log().bucket_name,
        Key=record.key,
        Body=json.dumps(asdict(record)).encode(),
        ContentType="application/json",
    )
    return asdict(record)


def record_of(detail: Mapping[str, Any]) -> Record:
    config_name = detail["EndpointConfigName"]
    sagemaker = aws.sagemaker()
    config = sagemaker.describe_endpoint_config(EndpointConfigName=config_name)
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0].get("ModelName", ""))
    changed = datetime.fromtimestamp(detail["LastModifiedTime"] / 1000, UTC)
    return Record(
        time=changed.isoformat(timespec="milliseconds"),
        # The event spells its statuses IN_SERVICE, the API InService: be ready for both
        status=re.sub(r"(?<=[a-z])(?=[A-Z])", "_", detail["EndpointStatus"]).upper(),
        endpoint_config=config_name,
        model=model["ModelName"],
        artifact_uri=model["PrimaryContainer"]["ModelDataUrl"],
    )


def records() -> list[Record]:
    """All of them, oldest first."""
    bucket = settings.release_log().bucket_name
    return read_records(aws.s3(), bucket)


def read_records(s3: Any, bucket: str) -> list[Record]:
    """All records of a bucket, oldest first, with any S3 client."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
    keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))
    return [Record(**read_json(s3.get_object(Bucket=bucket, Key=key)["Body"], name=key)) for key in keys]
