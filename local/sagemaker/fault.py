"""Injected faults: what an endpoint does instead of invoking its model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """What a request gets instead of the model's response, for tests and demonstrations."""

    status: int = 500  # the container's response
    body: str = ""
    delay_seconds: float = 0  # time until the response
    service_error: str = ""  # SageMaker's own error, such as ThrottlingException, instead of a response
    model_answers: bool = False  # after the delay the model responds as usual
    hangs_up: bool = False  # the connection is closed without a response
    drip_seconds: float = 0  # pause after each byte of the response, so that no single read times out
    inference_id: str = ""  # only a request with this InferenceId
    on_canary: bool = False  # only a request to the new model during an update
