import base64
import hashlib
import io
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from lambda_src.classification.classifier import handler
from lambda_src.shared import aws, errors

EVENT = {
    "image_data": base64.b64encode(b"pixels").decode(),
    "s3_bucket": "b",
    "s3_key": "test/bike.png",
    "s3_version_id": "v1",
}
CLASSES = ("bicycle", "motorcycle")


def answer(body: bytes) -> dict[str, Any]:
    stream = StreamingBody(io.BytesIO(body), len(body))
    return {"Body": stream, "ContentType": "application/json"}


def test_adds_probabilities_label_and_confidence_and_drops_the_image(runtime: Stubber) -> None:
    runtime.add_response(
        "invoke_endpoint",
        answer(b"[0.03, 0.97]"),
        {
            "EndpointName": "scones-dev",
            "ContentType": "application/x-image",
            "Accept": "application/json",
            "Body": b"pixels",
            "InferenceId": hashlib.sha256(b"b/test/bike.png/v1").hexdigest(),
        },
    )
    assert handler(EVENT, None) == {
        **EVENT,
        "image_data": "",
        "inferences": [0.03, 0.97],
        "label": "motorcycle",
        "confidence": 0.97,
    }


@pytest.mark.parametrize(
    ("code", "status", "fields", "error"),
    [
        ("ModelError", 424, {"OriginalStatusCode": 400}, errors.ImageRefusedError),
        ("ModelError", 424, {"OriginalStatusCode": 500}, errors.EndpointUnavailableError),
        ("ModelError", 424, {"OriginalStatusCode": 503}, errors.EndpointUnavailableError),
        ("ModelError", 424, {"OriginalStatusCode": 429}, errors.EndpointUnavailableError),
        ("ModelError", 424, {}, errors.EndpointUnavailableError),
        ("ModelNotReadyException", 429, {}, errors.EndpointUnavailableError),
        ("ThrottlingException", 400, {}, errors.EndpointUnavailableError),
        ("ServiceUnavailable", 503, {}, errors.EndpointUnavailableError),
        ("InternalFailure", 500, {}, errors.EndpointUnavailableError),
        ("ValidationError", 400, {}, errors.EndpointMisconfiguredError),
        ("AccessDeniedException", 403, {}, errors.EndpointMisconfiguredError),
    ],
)
def test_every_refusal_has_a_name(
    runtime: Stubber, code: str, status: int, fields: dict[str, Any], error: type[errors.ImageError]
) -> None:
    runtime.add_client_error(
        "invoke_endpoint", code, "why", http_status_code=status, modeled_fields=fields, response_meta={}
    )
    with pytest.raises(error):
        handler(EVENT, None)


def test_no_connection_may_succeed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def invoke_endpoint(self, **_: object) -> None:
            raise EndpointConnectionError(endpoint_url="https://runtime")

    monkeypatch.setattr(aws, "sagemaker_runtime", Unreachable)
    with pytest.raises(errors.EndpointUnavailableError, match="scones-dev cannot be reached"):
        handler(EVENT, None)


@pytest.mark.parametrize("image_data", [None, "", 5, "not base64!", "YQ"])
def test_an_item_without_image_is_invalid(image_data: object) -> None:
    with pytest.raises(errors.InvalidInputError, match="image_data"):
        handler({**EVENT, "image_data": image_data}, None)


def test_an_answer_that_is_no_distribution_is_refused(runtime: Stubber) -> None:
    runtime.add_response("invoke_endpoint", answer(b"[0.5, 0.6]"))
    with pytest.raises(errors.InvalidPredictionError, match=r"sum to 1\.1000"):
        handler(EVENT, None)


@pytest.mark.parametrize(("kind", "read_timeout", "attempts"), [("realtime", 5, 2), ("serverless", 30, 1)])
def test_it_waits_for_a_container_that_starts_and_asks_for_no_second_one(
    monkeypatch: pytest.MonkeyPatch, kind: str, read_timeout: int, attempts: int
) -> None:
    monkeypatch.setenv("ENDPOINT_KIND", kind)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config: Any = aws.sagemaker_runtime.__wrapped__().meta.config
    assert config.read_timeout == read_timeout
    assert config.retries["total_max_attempts"] == attempts
