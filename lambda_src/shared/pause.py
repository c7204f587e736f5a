"""Whether the endpoint is paused: an object in the bucket, `{"paused_at": ...}`, after a resume also `"resumed_at"`.

The pause state machine (stacks/model/pause.asl.yaml) writes it before the endpoint is deleted, and when the endpoint is
in service again. It is in S3 because reads, writes and listings there are strongly consistent
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel). A function that still reads
"paused" after it has recorded its image did both before the resume lists the records, so the listing has the image.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_src.shared import aws, settings
from lambda_src.shared.errors import StorageUnavailableError
from lambda_src.shared.json_reader import read_json

KEY = "endpoint/pause.json"
# Without permission to list the bucket, S3 returns 403 instead of 404 for an object that does not exist
_NONE = {"NoSuchKey", "AccessDenied"}


@dataclass(frozen=True)
class Pause:
    """The endpoint's last pause. It is still in effect if `resumed_at` is None."""

    paused_at: datetime
    resumed_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.resumed_at is not None

    @property
    def waiting(self) -> str:
        """The prefix below which images that arrive during the pause are recorded."""
        return f"waiting/{self.paused_at:%Y%m%d%H%M%S}{self.paused_at.microsecond // 1000:03}/"


def last_pause() -> Pause | None:
    """The last pause of the function's endpoint, if there was one; raises StorageUnavailableError."""
    try:
        return read_pause(aws.s3(), settings.bucket_name())
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailableError(f"{KEY} could not be read ({error})") from error


def read_pause(s3: Any, bucket: str) -> Pause | None:
    """The last pause that a bucket records, read with the given S3 client; None if there was none."""
    try:
        body = s3.get_object(Bucket=bucket, Key=KEY)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NONE:
            raise
        return None
    content = read_json(body, name=KEY)
    resumed_at = content.get("resumed_at")
    return Pause(
        datetime.fromisoformat(content["paused_at"]), datetime.fromisoformat(resumed_at) if resumed_at else None
    )
