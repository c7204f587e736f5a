"""Since when the endpoint is paused."""

from datetime import datetime

from lambda_src.shared.pause import read_pause
from ops import aws


def paused_since(bucket: str) -> datetime | None:
    """When the endpoint of the environment with this bucket was paused; None while it is not. One GetObject."""
    pause = read_pause(aws.s3(), bucket)
    return None if pause is None or pause.is_over else pause.paused_at
