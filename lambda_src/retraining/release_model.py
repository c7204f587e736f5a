"""ReleaseModel: starts the update of the endpoint to another model, with a canary and the guardrail alarms."""

from collections.abc import Mapping
from typing import Any

from lambda_src.retraining import release


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Takes `{"run", "model", "rollback"}`; returns the names of the new endpoint config and of the previous one.

    Raises EndpointBusyError or EndpointNotServingError.
    """
    before = release.served()
    name = release.endpoint_config_name(event["model"], event["run"])
    previous = before.endpoint_config["EndpointConfigName"]
    if previous != name:
        release.ensure_endpoint_config(name, event["model"], before)
        release.update_endpoint(name, guarded=not event["rollback"])
    return {"endpoint_config": name, "previous": previous}
