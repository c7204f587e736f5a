"""Errors as SageMaker names them."""


class ApiError(Exception):
    """When the service refuses a request; returned as `code` with HTTP status `status`."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def validation_error(message: str) -> ApiError:
    return ApiError("ValidationException", message)


class ContainerError(Exception):
    """When a container returns an error; `status` is the container's own HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class JobFailedError(Exception):
    """When a job or an endpoint ends as Failed; the message is its FailureReason."""
