"""The stand-in for SageMaker in this process: without a socket, but every request passes botocore's validation."""

import json
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3

from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.errors import ApiError


def client_of(plane: ControlPlane) -> Any:
    """SageMaker's client, whose requests this control plane answers."""

    def answer(model: Any, params: Any, **_: Any) -> Any:
        try:
            return SimpleNamespace(status_code=200), plane.call(model.name, json.loads(params["body"]))
        except ApiError as error:
            return SimpleNamespace(status_code=error.status), {
                "Error": {"Code": error.code, "Message": str(error)},
                "ResponseMetadata": {"HTTPStatusCode": error.status},
            }

    client = client_for("sagemaker", answered_by="stand-in")
    client.meta.events.unregister("before-call.sagemaker", unique_id="stand-in")
    client.meta.events.register("before-call.sagemaker", answer, unique_id="stand-in")
    return client


@cache
def client_for(service: Any, *, answered_by: str = "moto or a stub") -> Any:
    """A client with keys that sign what never leaves the process; the same one each time, as making it is slow."""
    return boto3.Session("unit", "test", region_name="us-east-1").client(service)
