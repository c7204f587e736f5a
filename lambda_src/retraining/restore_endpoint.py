"""RestoreEndpoint: starts the update of the endpoint to the endpoint config that it had before this run."""

from collections.abc import Mapping
from typing import Any

from lambda_src.retraining import release


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Takes `{"previous"}`, the name of an endpoint config. Raises EndpointBusyError or EndpointNotServingError."""
    if release.served().endpoint_config["EndpointConfigName"] != event["previous"]:
        release.update_endpoint(event["previous"], guarded=False)
    return {"endpoint_config": event["previous"]}
