"""ReleaseLog: records what the endpoint serves, and since when.

SageMaker sends an event for every change of the endpoint, whether it comes from a deployment, a retraining run, a
rollback or SageMaker itself.
Event: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from lambda_src.shared import aws, settings
from lambda_src.shared.release_history import Record


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Takes a SageMaker Endpoint State Change event; returns the stored record, or `{}` if the endpoint is deleted."""
    if event["detail"]["EndpointStatus"].upper() in {"DELETING", "DELETED"}:
        return {}  # CloudFormation deletes model and endpoint config too, so they may no longer exist
    record = record_of(event["detail"])
    aws.s3().put_object(
        Bucket=settings.bucket_name(),
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
        # Events have statuses such as IN_SERVICE, the API has InService; this accepts both
        status=re.sub(r"(?<=[a-z])(?=[A-Z])", "_", detail["EndpointStatus"]).upper(),
        endpoint_config=config_name,
        model=model["ModelName"],
        artifact_uri=model["PrimaryContainer"]["ModelDataUrl"],
    )
