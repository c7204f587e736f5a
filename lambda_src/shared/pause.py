"""Whether the endpoint is paused: one small object of the bucket, `{"paused_at": ..., "resumed_at": ... or null}`.

The state machine that pauses and resumes (stacks/model/pause.asl.yaml) writes it: before the endpoint goes, and when it
is in service again. In S3 because its reads, writes and listings are strongly consistent
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel): who reads `paused` does so before
the resume lists the images that wait, so it finds the image of whoever read it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.shared import aws, settings
from lambda_src.shared.errors import StorageUnavailableError
from lambda_src.shared.json_reader import read_json

KEY = "endpoint/pause.json"
# 403: to whoever may not list the bucket S3 does not say that there is no such object
_NONE = {"NoSuchKey", "AccessDenied"}


@dataclass(frozen=True)
class Pause:
    """The last pause of the endpoint; it goes on unless `resumed_at` is set."""

    paused_at: datetime
    resumed_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.resumed_at is not None

    @property
    def waiting(self) -> str:
        """The prefix of the records of the images that came meanwhile."""
        return f"waiting/{self.paused_at:%Y%m%d%H%M%S}{self.paused_at.microsecond // 1000:03}/"


def last_pause() -> Pause | None:
    """The last pause of the function's endpoint; raises StorageUnavailableError if that cannot be determined."""
    try:
        return read_pause(aws.s3(), settings.bucket_name())
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailableError(f"{KEY} could not be read ({error})") from error


def read_pause(s3: Any, bucket: str) -> Pause | None:
    """The last pause as a bucket has it, with any S3 client; None if there was none."""
    try:
        body = s3.get_object(Bucket=bucket, Key=KEY)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NONE:
            raise
        return None
    content = read_json(body, name=KEY)
    resumed_at = content["resumed_at"]
    return Pause(
        datetime.fromisoformat(content["paused_at"]), datetime.fromisoformat(resumed_at) if resumed_at else None
    )
