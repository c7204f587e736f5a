"""Blue/green update of the endpoint with automatic rollback: traffic shifts in two steps while alarms watch.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

import json
import zlib
from typing import Any

from stacks.config import EnvironmentConfig

_SECONDS_BEYOND_BAKING = 30 * 60  # to start the new instances and to terminate the old ones


def deployment_config(config: EnvironmentConfig) -> dict[str, Any] | None:
    """The DeploymentConfig, which has the same form in UpdateEndpoint and in AWS::SageMaker::Endpoint.

    SageMaker shifts whole instances, so in a fleet that has scaled out the canary is a smaller share. A single instance
    has no canary: all traffic shifts at once, and the old instance is kept while the new one bakes. None for a
    serverless endpoint, which has no instances.
    """
    if config.endpoint.kind == "serverless":
        return None
    baking = config.endpoint.bake_minutes * 60
    routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    if config.endpoint.canary_instances:
        routing = {
            "Type": "CANARY",
            "WaitIntervalInSeconds": baking,
            "CanarySize": {"Type": "INSTANCE_COUNT", "Value": config.endpoint.canary_instances},
        }
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": baking,
            "MaximumExecutionTimeoutInSeconds": 2 * baking + _SECONDS_BEYOND_BAKING,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in config.update_alarm_names]},
    }


def update_weight(deployment: dict[str, Any] | None, *, retains: bool) -> int:
    """A weight of the endpoint config's only variant, which gets all requests whatever its weight.

    SageMaker refuses to update an endpoint with the config that it has. CloudFormation replaces the config if its
    weight changes, so the weight follows whatever makes it update the endpoint: the deployment config, and whether the
    update keeps instances. 1 for a serverless endpoint.
    """
    if deployment is None:
        return 1
    settings = json.dumps([deployment, retains], sort_keys=True)
    return 1 + zlib.crc32(settings.encode()) % 1_000_000
