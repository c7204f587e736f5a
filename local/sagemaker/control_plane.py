"""The operations of SageMaker's API that this project calls, in a file for each kind of resource.

Requests are validated against botocore's service model, so SageMaker would accept what this accepts.
"""

from collections.abc import Callable
from functools import cache as cached
from pathlib import Path

import botocore.session
from botocore import xform_name
from botocore.exceptions import ParamValidationError
from botocore.model import OperationNotFoundError, ServiceModel

from local import strict
from local.cloud import ACCOUNT, REGION
from local.permissions import Call, needed, own_action
from local.sagemaker.api.endpoints import Endpoints
from local.sagemaker.api.model_registry import ModelRegistry
from local.sagemaker.api.resources import Record
from local.sagemaker.api.training_jobs import TrainingJobs
from local.sagemaker.api.transform_jobs import TransformJobs
from local.sagemaker.authorization import Authorize, allow_all
from local.sagemaker.errors import ApiError, validation_error


class ControlPlane(Endpoints, TransformJobs, TrainingJobs, ModelRegistry):
    """Authorizes and runs the operations."""

    def __init__(
        self, *, cache: Path, emit: Callable[[str, Record], None] = lambda *_: None, authorize: Authorize = allow_all
    ) -> None:
        super().__init__(cache=cache, emit=emit)
        self._authorize = authorize

    def call(self, operation: str, request: Record, *, access_key: str = "") -> Record:
        """Run one API operation, such as CreateModel, for the owner of the access key; raises ApiError."""
        handler: Callable[[Record], Record] | None = getattr(self, xform_name(operation), None)
        try:
            model = _service_model().operation_model(operation)
        except OperationNotFoundError:
            model = None
        if handler is None or model is None:
            raise ApiError("UnknownOperationException", f"the local stand-in for SageMaker has no {operation}")
        try:
            strict.check(model, request)
        except ParamValidationError as error:
            raise validation_error(error.kwargs["report"]) from error
        self.check_permissions(operation, request, access_key=access_key)
        with self._lock:
            return handler(request)

    def check_permissions(self, operation: str, request: Record, *, access_key: str) -> None:
        """Raise ApiError unless the caller and the execution role have the permissions that the operation needs."""
        endpoint_config = self._endpoint_configs.get(request.get("EndpointConfigName", ""), {})
        served = endpoint_config.get("ProductionVariants", [{}])[0]
        model = self._models.get(request.get("ModelName") or served.get("ModelName"), {})
        roles = (request.get("RoleArn"), request.get("ExecutionRoleArn"), model.get("ExecutionRoleArn"))
        call = Call(
            operation=operation, request=request, region=REGION, account=ACCOUNT, endpoint_config=endpoint_config
        )
        refusal = self._authorize(
            [own_action(call), *needed(call)], access_key=access_key, execution_role=next(filter(None, roles), "")
        )
        if refusal:
            raise ApiError("AccessDeniedException", refusal)

    def list_tags(self, request: Record) -> Record:
        every = (
            self._models,
            self._endpoint_configs,
            self._endpoint_records,
            self._training_jobs,
            self._transform_jobs,
        )
        for records in every:
            for record in records.values():
                if request["ResourceArn"] in record.values():
                    return {"Tags": record.get("Tags", [])}
        raise validation_error(f"Could not find {request['ResourceArn']!r}.")


@cached
def _service_model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("sagemaker")
