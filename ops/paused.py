"""Whether the endpoint of an environment is paused, and since when."""

from datetime import datetime

from lambda_src.shared.pause import read_pause
from ops import aws
from ops.errors import OpsError
from stacks.config import EnvironmentConfig


def paused_since(bucket: str) -> datetime | None:
    """When the endpoint of the environment with this bucket was paused; None while it is not. One GetObject."""
    pause = read_pause(aws.s3(), bucket)
    return None if pause is None or pause.is_over else pause.paused_at


def describe_pause(since: datetime) -> str:
    """Text such as `paused since 2026-11-26 18:00 UTC`."""
    return f"paused since {since:%Y-%m-%d %H:%M} UTC"


def refuse_while_paused(config: EnvironmentConfig, bucket: str, *, needs: str) -> None:
    """Raise OpsError if the endpoint is paused. needs: what requires the endpoint."""
    if since := paused_since(bucket):
        raise OpsError(
            f"endpoint {config.endpoint_name} is {describe_pause(since)}, and {needs} it: "
            f"`python -m ops resume --env {config.name}` first"
        )
