"""Reads from an environment's templates what determines its cost, and computes its monthly cost while idle."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ops.cost.quantities import HOURS_A_MONTH, Quantities, dollars
from ops.templates import Template
from stacks.config import EndpointConfig
from stacks.model.hours import HOURS_OF_A_WEEK, hours_a_week
from stacks.shared.prices import price_list

# Ten of lambda_src/shared/metrics.py, with two names of errors, and three of stacks/monitoring/metrics.py
CUSTOM_METRICS = 13


@dataclass(frozen=True)
class Deployment:
    """The properties of an environment's templates that determine its cost."""

    functions: Mapping[str, tuple[float, str]]  # memory in GB and architecture by construct name
    endpoint: tuple[str, int] | None
    serverless_gb: float
    alarms: int
    dashboards: int
    keys: int
    logs_states: bool  # whether the inline workflow logs every event
    endpoint_hours: float = HOURS_A_MONTH  # a month; fewer if `endpoint.hours` pauses the endpoint

    @classmethod
    def of(cls, rendered: Mapping[str, Template]) -> "Deployment":
        resources = [
            (logical_id, resource["Type"], resource.get("Properties", {}))
            for template in rendered.values()
            for logical_id, resource in template["Resources"].items()
        ]
        by_type = Counter(kind for _, kind, _ in resources)
        variants = [
            properties["ProductionVariants"][0]
            for _, kind, properties in resources
            if kind == "AWS::SageMaker::EndpointConfig"
        ]
        serverless = variants[0].get("ServerlessConfig") if variants else None
        return cls(
            functions={
                logical_id[:-8]: (properties.get("MemorySize", 128) / 1024, properties["Architectures"][0])
                for logical_id, kind, properties in resources
                if kind == "AWS::Lambda::Function" and "Architectures" in properties
            },
            endpoint=(variants[0]["InstanceType"], variants[0]["InitialInstanceCount"])
            if variants and not serverless
            else None,
            serverless_gb=serverless["MemorySizeInMB"] / 1024 if serverless else 0,
            alarms=by_type["AWS::CloudWatch::Alarm"],
            dashboards=by_type["AWS::CloudWatch::Dashboard"],
            keys=by_type["AWS::KMS::Key"],
            logs_states=any(
                properties.get("LoggingConfiguration", {}).get("Level") == "ALL"
                for logical_id, kind, properties in resources
                if kind == "AWS::StepFunctions::StateMachine" and logical_id.startswith("ClassificationWorkflow")
            ),
        )

    def paused_by(self, config: EndpointConfig) -> "Deployment":
        """The same with instances only during `endpoint.hours`."""
        return replace(self, endpoint_hours=HOURS_A_MONTH * hours_a_week(config.hours) / HOURS_OF_A_WEEK)

    def on_instances(self, config: EndpointConfig) -> "Deployment":
        """The same with the configured instances behind the endpoint, always on."""
        return replace(
            self,
            endpoint=(config.instance_type, config.instance_count),
            serverless_gb=0,
            endpoint_hours=HOURS_A_MONTH,
        )

    def serverless(self, config: EndpointConfig) -> "Deployment":
        """The same with a serverless endpoint."""
        return replace(self, endpoint=None, serverless_gb=config.serverless_memory_mb / 1024)


def watching(deployment: Deployment) -> dict[str, float]:
    """Quantities of an idle month without the endpoint. Budgets are free."""
    return {
        "cloudwatch.alarm_month": deployment.alarms,
        "cloudwatch.dashboard_month": deployment.dashboards,
        "cloudwatch.metric_month": CUSTOM_METRICS,
        "kms.key_month": deployment.keys,
    }


def instances(deployment: Deployment) -> dict[str, float]:
    """The hours of the endpoint's instances in a month."""
    if deployment.endpoint is None:
        return {}
    kind, number = deployment.endpoint
    return {f"sagemaker.instance_hour.{kind}": number * deployment.endpoint_hours}


def idle_parts(deployment: Deployment, prices: Mapping[str, float]) -> dict[str, float]:
    """Dollars of an idle month, by item."""
    parts: dict[str, Quantities] = {
        name.split(".")[1].removesuffix("_month"): {name: quantity}
        for name, quantity in watching(deployment).items()
        if quantity
    }
    if deployment.endpoint:
        kind, number = deployment.endpoint
        parts[f"{number} x {kind}"] = instances(deployment)
    return {name: dollars(quantities, prices) for name, quantities in parts.items()}


def idle_month(rendered: Mapping[str, Template]) -> float:
    """Dollars of an idle month; 0 without templates."""
    prices: dict[str, Any] = price_list()["prices"]
    return sum(idle_parts(Deployment.of(rendered), prices).values()) if rendered else 0
