"""Models and endpoint configs."""

from collections.abc import Callable
from pathlib import Path

from local.sagemaker.api.resources import Record, Resources
from local.sagemaker.errors import validation_error

# An endpoint config accepts these only if its variants name no model
OF_INFERENCE_COMPONENTS = ("EnableNetworkIsolation", "ExecutionRoleArn", "VpcConfig")


class Models(Resources):
    """CreateModel, CreateEndpointConfig and related operations."""

    def __init__(self, *, cache: Path, emit: Callable[[str, Record], None] = lambda *_: None) -> None:
        super().__init__(cache=cache, emit=emit)
        self._models: dict[str, Record] = {}
        self._endpoint_configs: dict[str, Record] = {}

    def create_model(self, request: Record) -> Record:
        arn = self._add(self._models, "model", request["ModelName"], request)
        return {"ModelArn": arn}

    def describe_model(self, request: Record) -> Record:
        return self._find(self._models, "model", request["ModelName"])

    def list_models(self, request: Record) -> Record:
        return {"Models": self._summaries(self._models, request, "ModelName", "ModelArn")}

    def delete_model(self, request: Record) -> Record:
        self._find(self._models, "model", request["ModelName"])
        del self._models[request["ModelName"]]
        return {}

    def create_endpoint_config(self, request: Record) -> Record:
        for setting in OF_INFERENCE_COMPONENTS:
            if setting in request:
                raise validation_error(f"{setting} is only supported for inference component endpoints.")
        for variant in request["ProductionVariants"]:
            if "ModelName" not in variant:
                raise validation_error(f"the local stand-in has no inference components: {variant['VariantName']}")
            model = self._find(self._models, "model", variant["ModelName"])
            if "ServerlessConfig" in variant:
                _check_serverless(request, model)
        arn = self._add(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"], request)
        return {"EndpointConfigArn": arn}

    def describe_endpoint_config(self, request: Record) -> Record:
        record = self._find(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"])
        return {"EnableNetworkIsolation": False, **record}

    def list_endpoint_configs(self, request: Record) -> Record:
        summaries = self._summaries(self._endpoint_configs, request, "EndpointConfigName", "EndpointConfigArn")
        return {"EndpointConfigs": summaries}

    def delete_endpoint_config(self, request: Record) -> Record:
        self._find(self._endpoint_configs, "endpoint-config", request["EndpointConfigName"])
        del self._endpoint_configs[request["EndpointConfigName"]]
        return {}


def _check_serverless(request: Record, model: Record) -> None:
    """Raise ApiError for features that serverless endpoints exclude.

    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    """
    if model.get("EnableNetworkIsolation") or request.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise validation_error("Serverless endpoints support neither network isolation nor data capture.")
    if model.get("VpcConfig"):
        raise validation_error("Serverless endpoints do not support VPC configuration.")
    if len(request["ProductionVariants"]) > 1 or request.get("ShadowProductionVariants"):
        raise validation_error("Serverless endpoints have one production variant.")
