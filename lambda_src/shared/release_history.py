"""What the endpoint has served and since when: the records that ReleaseLog writes below `releases/`."""

from dataclasses import dataclass
from typing import Any

from lambda_src.shared import aws, settings
from lambda_src.shared.json_reader import read_json

PREFIX = "releases/"


@dataclass(frozen=True)
class Record:
    """A change of the endpoint: its status, and the artifact that it serves or is about to. `time` is ISO 8601, UTC."""

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
        """Every delivery of the same event has the same key, and keys sort by time."""
        return f"{PREFIX}{self.time}-{self.status}.json"


def records() -> list[Record]:
    """All records of the function's environment, oldest first."""
    bucket = settings.bucket_name()
    return read_records(aws.s3(), bucket)


def read_records(s3: Any, bucket: str) -> list[Record]:
    """All records in a bucket, oldest first, read with the given S3 client."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
    keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))
    return [Record(**read_json(s3.get_object(Bucket=bucket, Key=key)["Body"], name=key)) for key in keys]
