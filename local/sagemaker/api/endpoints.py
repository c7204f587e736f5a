"""Endpoints: their variants, updates and state-change events."""

import re
from collections.abc import Callable
from pathlib import Path

from local.sagemaker.api.models import Models
from local.sagemaker.api.resources import Record, now
from local.sagemaker.deployment import AT_ONCE, Deployment
from local.sagemaker.endpoint import Endpoint, Variant
from local.sagemaker.errors import JobFailedError, validation_error


class Endpoints(Models):
    """CreateEndpoint, UpdateEndpoint and related operations."""

    def __init__(self, *, cache: Path, emit: Callable[[str, Record], None] = lambda *_: None) -> None:
        super().__init__(cache=cache, emit=emit)
        self._endpoint_records: dict[str, Record] = {}
        self.endpoints: dict[str, Endpoint] = {}

    def shut_down(self) -> None:
        """Write the endpoints' pending captures and metrics, and end them."""
        for endpoint in self.endpoints.values():
            endpoint.close()

    def create_endpoint(self, request: Record) -> Record:
        name = request["EndpointName"]
        source = self._variant_source(request)
        record = {
            **request,
            "EndpointStatus": "Creating",
            "ProductionVariants": _variants(source["endpoint_config"], retained=None),
        }
        arn = self._add(self._endpoint_records, "endpoint", name, record)
        self.endpoints[name] = Endpoint(name)
        self._tell_of(name)
        # A deployment config applies to updates: a new endpoint has nothing to roll back to
        self._in_background(self._move, name, source, Deployment(AT_ONCE, instances=1))
        return {"EndpointArn": arn}

    def update_endpoint(self, request: Record) -> Record:
        name = request["EndpointName"]
        record = self._find(self._endpoint_records, "endpoint", name)
        source = self._variant_source(request)
        if record["EndpointStatus"] != "InService":
            raise validation_error(f"Cannot update in-progress endpoint {record['EndpointArn']!r}.")
        _check_retained(request)
        _check_kind(request, source["endpoint_config"], record["ProductionVariants"])
        if request["EndpointConfigName"] == record["EndpointConfigName"]:
            in_use = record["EndpointConfigName"]
            raise validation_error(
                f'Cannot update endpoint with the currently in use endpoint configuration "{in_use}".'
            )
        retained = record["ProductionVariants"] if request.get("RetainAllVariantProperties") else None
        variants = _variants(source["endpoint_config"], retained=retained)
        config = request.get("DeploymentConfig")
        if config is None:
            config = record.get("LastDeploymentConfig", AT_ONCE) if request.get("RetainDeploymentConfig") else AT_ONCE
        deployment = Deployment(config, instances=variants[0].get("DesiredInstanceCount", 1))
        record.update(
            {
                "EndpointStatus": "Updating",
                "LastModifiedTime": _changed(record),
                "PendingDeploymentSummary": {
                    "EndpointConfigName": request["EndpointConfigName"],
                    "ProductionVariants": variants,
                    "StartTime": now(),
                },
            }
        )
        record.pop("FailureReason", None)
        self._tell_of(name)
        self._in_background(self._move, name, source, deployment, config)
        return {"EndpointArn": record["EndpointArn"]}

    def update_endpoint_weights_and_capacities(self, request: Record) -> Record:
        """The operation that autoscaling calls."""
        record = self._find(self._endpoint_records, "endpoint", request["EndpointName"])
        if record["EndpointStatus"] != "InService":
            raise validation_error(f"Cannot update in-progress endpoint {record['EndpointArn']!r}.")
        for wanted in request["DesiredWeightsAndCapacities"]:
            for variant in record["ProductionVariants"]:
                if variant["VariantName"] == wanted["VariantName"] and "DesiredInstanceCount" in wanted:
                    variant["DesiredInstanceCount"] = variant["CurrentInstanceCount"] = wanted["DesiredInstanceCount"]
        return {"EndpointArn": record["EndpointArn"]}

    def describe_endpoint(self, request: Record) -> Record:
        return dict(self._find(self._endpoint_records, "endpoint", request["EndpointName"]))

    def delete_endpoint(self, request: Record) -> Record:
        self._find(self._endpoint_records, "endpoint", request["EndpointName"])
        del self._endpoint_records[request["EndpointName"]]
        self.endpoints.pop(request["EndpointName"]).close()
        return {}

    def _variant_source(self, request: Record) -> dict[str, Record]:
        config = self._find(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"])
        model = self._find(self._models, "model", config["ProductionVariants"][0]["ModelName"])
        return {"model": model, "endpoint_config": config}

    def _move(self, name: str, source: dict[str, Record], deployment: Deployment, config: Record | None = None) -> None:
        """Load the variant and move traffic to it. If it cannot be loaded or fails its canary, the old one stays."""
        record = self._endpoint_records[name]
        is_update = record["EndpointStatus"] == "Updating"
        try:
            variant = Variant(endpoint_name=name, **source)
            deployment.run(self.endpoints[name], variant)
        except JobFailedError as error:
            outcome: Record = {"EndpointStatus": "InService" if is_update else "Failed", "FailureReason": str(error)}
        else:
            outcome = {
                "EndpointStatus": "InService",
                "EndpointConfigName": source["endpoint_config"]["EndpointConfigName"],
            }
            if is_update:
                outcome["ProductionVariants"] = record["PendingDeploymentSummary"]["ProductionVariants"]
                outcome["LastDeploymentConfig"] = config
        with self._lock:
            record.pop("PendingDeploymentSummary", None)
            record.update({**outcome, "LastModifiedTime": _changed(record)})
        self._tell_of(name)

    def _tell_of(self, name: str) -> None:
        """Emit SageMaker's event for a change of an endpoint."""
        record = self._endpoint_records[name]
        status = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", record["EndpointStatus"]).upper()
        detail = {
            "EndpointName": name,
            "EndpointArn": record["EndpointArn"],
            "EndpointConfigName": record["EndpointConfigName"],
            "EndpointStatus": status,
            "CreationTime": round(record["CreationTime"] * 1000),
            "LastModifiedTime": round(record["LastModifiedTime"] * 1000),
        }
        self._emit("SageMaker Endpoint State Change", detail)


def _changed(record: Record) -> float:
    """The time of a change: at least the millisecond after the one before, as events count in milliseconds."""
    previous: float = record["LastModifiedTime"]
    return max(now(), previous + 0.001)


def _check_retained(request: Record) -> None:
    """Raise ApiError for requests that the documentation of UpdateEndpoint and VariantProperty excludes."""
    excluded = {entry["VariantPropertyType"] for entry in request.get("ExcludeRetainedVariantProperties", [])}
    if excluded and not request.get("RetainAllVariantProperties"):
        raise validation_error("ExcludeRetainedVariantProperties is for updates with RetainAllVariantProperties only.")
    if "DataCaptureConfig" in excluded:
        raise validation_error("VariantPropertyType DataCaptureConfig is not currently supported.")


def _check_kind(request: Record, endpoint_config: Record, present: list[Record]) -> None:
    """Raise ApiError for requests that serverless endpoints, or updates to one, do not support.

    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-update.html and deployment-guardrails.html
    """
    if "ServerlessConfig" not in endpoint_config["ProductionVariants"][0]:
        return
    if "CurrentServerlessConfig" not in present[0]:
        raise validation_error(
            f"Endpoint {request['EndpointName']} runs on instances: updating it to a serverless endpoint is not "
            "supported."
        )
    if "DeploymentConfig" in request:
        raise validation_error("DeploymentConfig is not supported for serverless endpoints.")


def _variants(endpoint_config: Record, *, retained: list[Record] | None) -> list[Record]:
    """The variants as DescribeEndpoint shows them. retained: variants whose instance counts are kept."""
    counts = {variant["VariantName"]: variant.get("DesiredInstanceCount") for variant in retained or []}
    return [_summary(variant, counts.get(variant["VariantName"])) for variant in endpoint_config["ProductionVariants"]]


def _summary(variant: Record, count: int | None) -> Record:
    weight = variant.get("InitialVariantWeight", 1.0)
    found = {"VariantName": variant["VariantName"], "CurrentWeight": weight, "DesiredWeight": weight}
    if "ServerlessConfig" in variant:
        capacity = ("ServerlessConfig", variant["ServerlessConfig"])
    else:
        capacity = ("InstanceCount", count or variant.get("InitialInstanceCount", 1))
    return {**found, **{f"{state}{capacity[0]}": capacity[1] for state in ("Current", "Desired")}}
