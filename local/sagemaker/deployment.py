"""An update of an endpoint with deployment guardrails: canary, baking, and rollback when an alarm goes off.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

import time
from typing import Any

import boto3

from local import clock
from local.sagemaker.endpoint import Endpoint, Variant
from local.sagemaker.errors import JobFailedError, validation_error

_POLL_SECONDS = 0.2
# UpdateEndpoint's behaviour without a DeploymentConfig
AT_ONCE: dict[str, Any] = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": 0,
    }
}


class Deployment:
    """The steps of one update."""

    def __init__(self, config: dict[str, Any], *, instances: int) -> None:
        """Check a DeploymentConfig for errors that botocore accepts; raises ApiError."""
        if "RollingUpdatePolicy" in config:
            raise validation_error("the local stand-in has blue/green updates only")
        policy = config["BlueGreenUpdatePolicy"]
        routing = policy["TrafficRoutingConfiguration"]
        self._share = 1.0
        self._wait = routing["WaitIntervalInSeconds"]
        self._termination_wait = policy.get("TerminationWaitInSeconds", 0)
        if routing["Type"] == "LINEAR":
            raise validation_error("the local stand-in has no LINEAR traffic shifting")
        if routing["Type"] == "CANARY":
            size = routing.get("CanarySize")
            if not size:
                raise validation_error("CanarySize is required for CANARY traffic shifting")
            self._share = _canary_instances(size, instances) / instances
        longest = policy.get("MaximumExecutionTimeoutInSeconds", 28800)
        if longest <= self._wait + self._termination_wait:
            raise validation_error("MaximumExecutionTimeoutInSeconds must be above the sum of the waits")
        alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        self._alarms = [alarm["AlarmName"] for alarm in alarms]
        missing = set(self._alarms) - self._states().keys()
        if missing:
            raise validation_error(f"Could not find alarms {sorted(missing)}")

    def run(self, endpoint: Endpoint, variant: Variant) -> None:
        """Move the endpoint to a loaded variant; raises JobFailedError after a rollback."""
        try:
            if self._share < 1:
                endpoint.shift(variant, share=self._share)
                self._bake(self._wait)
            endpoint.shift(variant, share=1.0)
            self._bake(self._termination_wait)
        except JobFailedError:
            endpoint.go_back()
            raise
        endpoint.settle()

    def _bake(self, seconds: float) -> None:
        """Watch the alarms during the baking time; raises JobFailedError when one goes off."""
        deadline = time.monotonic() + seconds * clock.SCALE
        while True:
            triggered = sorted(name for name, state in self._states().items() if state == "ALARM")
            if triggered:
                raise JobFailedError(f"Deployment was rolled back: alarms in ALARM state: {', '.join(triggered)}")
            if time.monotonic() >= deadline:
                return
            time.sleep(_POLL_SECONDS)

    def _states(self) -> dict[str, str]:
        if not self._alarms:
            return {}
        alarms = boto3.client("cloudwatch").describe_alarms(AlarmNames=self._alarms)["MetricAlarms"]
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms}


def _canary_instances(size: dict[str, Any], instances: int) -> int:
    """The number of instances in the canary; raises ApiError."""
    percent = size["Type"] == "CAPACITY_PERCENT"
    canary, fraction = divmod(size["Value"] * instances, 100) if percent else (size["Value"], 0)
    if fraction:
        raise validation_error(f"CanarySize of {size['Value']} % of {instances} instances is not a whole instance")
    if canary * 2 > instances:
        raise validation_error(f"CanarySize must be at most half of the variant's instances, which are {instances}")
    return int(canary)
