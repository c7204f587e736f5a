"""Injected faults: what an endpoint does instead of invoking its model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """What one coming request meets instead of the model, for tests and demonstrations."""

    status: int = 500  # the container's response
    body: str = ""
    delay_seconds: float = 0  # time until the response
    service_error: str = ""  # SageMaker's own refusal, such as ThrottlingException, instead of a response
    model_answers: bool = False  # after the delay the model responds as always
    hangs_up: bool = False  # the connection is closed without a response
    drip_seconds: float = 0  # pause after each byte of the response, which no time-out of a single read notices
    inference_id: str = ""  # only a request with this InferenceId
    on_canary: bool = False  # only a request that meets the new model while an update goes on
