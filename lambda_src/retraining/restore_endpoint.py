"""RestoreEndpoint: back to the endpoint config that was served before this run."""

from collections.abc import Mapping
from typing import Any

from lambda_src.retraining import release


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Takes `{"previous"}`, an endpoint config's name. Raises EndpointBusyError."""
    if release.served().endpoint_config["EndpointConfigName"] != event["previous"]:
        release.update_endpoint(event["previous"], guarded=False)
    return {"endpoint_config": event["previous"]}
