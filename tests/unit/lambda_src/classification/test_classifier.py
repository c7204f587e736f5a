import base64
import hashlib
import io
import json
from datetime import UTC, datetime
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


def no_pause(s3: Stubber) -> None:
    s3.add_client_error("get_object", "AccessDenied", http_status_code=403)


def pause(s3: Stubber, *, paused_at: str = "2026-01-26T18:00:00.123Z", **resumed: str) -> None:
    """The pause as the next GetObject finds it."""
    s3.add_response("get_object", answer(json.dumps({"paused_at": paused_at, **resumed}).encode()), PAUSE)


PAUSE = {"Bucket": "the-bucket", "Key": "endpoint/pause.json"}
UPLOAD = {**EVENT, "s3_bucket": "the-bucket", "s3_key": "incoming/a b.png"}
RECORD = {"Bucket": "the-bucket", "Key": "waiting/20260126180000123/v1/incoming/a b.png", "Body": b""}


@pytest.mark.parametrize(("code", "status"), [("ValidationError", 400), ("ServiceUnavailable", 503)])
def test_an_image_waits_on_record_while_the_endpoint_is_paused(
    runtime: Stubber, s3: Stubber, code: str, status: int
) -> None:
    """Also one that meets an endpoint which is about to go."""
    runtime.add_client_error("invoke_endpoint", code, "Endpoint not found", http_status_code=status)
    pause(s3)
    s3.add_response("put_object", {}, RECORD)
    pause(s3)
    with pytest.raises(errors.WaitingForEndpointError, match=r"paused since 2026-01-26T18:00:00\+00:00"):
        handler(UPLOAD, None)


@pytest.mark.parametrize("then", [{"resumed_at": "2026-01-27T08:00:00Z"}, {"paused_at": "2026-01-27T18:00:00.000Z"}])
def test_an_image_whose_record_may_have_come_too_late_tries_again(
    runtime: Stubber, s3: Stubber, then: dict[str, Any]
) -> None:
    """The resume lists the records after it has written that the pause is over."""
    runtime.add_client_error("invoke_endpoint", "ValidationError", "Endpoint not found", http_status_code=400)
    pause(s3)
    s3.add_response("put_object", {}, RECORD)
    pause(s3, **then)
    with pytest.raises(errors.EndpointUnavailableError, match="has just been resumed"):
        handler(UPLOAD, None)


def test_an_image_that_met_the_last_moment_of_a_pause_tries_again(runtime: Stubber, s3: Stubber) -> None:
    """The endpoint was on its way at the request, and in service when the pause was read."""
    runtime.add_client_error("invoke_endpoint", "ValidationError", "not in service", http_status_code=400)
    pause(s3, resumed_at=datetime.now(UTC).isoformat())
    with pytest.raises(errors.EndpointUnavailableError, match="has just been resumed"):
        handler(UPLOAD, None)


def test_after_a_pause_an_endpoint_that_is_missing_is_an_error_again(runtime: Stubber, s3: Stubber) -> None:
    runtime.add_client_error("invoke_endpoint", "ValidationError", "Endpoint not found", http_status_code=400)
    pause(s3, resumed_at="2026-01-27T08:00:00Z")
    with pytest.raises(errors.EndpointMisconfiguredError, match="Endpoint not found"):
        handler(UPLOAD, None)


def test_an_image_of_another_bucket_cannot_wait(runtime: Stubber, s3: Stubber) -> None:
    runtime.add_client_error("invoke_endpoint", "ValidationError", "Endpoint not found", http_status_code=400)
    pause(s3)
    with pytest.raises(errors.EndpointPausedError, match="start the image again"):
        handler(EVENT, None)


def test_a_record_that_cannot_be_written_may_be_later(runtime: Stubber, s3: Stubber) -> None:
    runtime.add_client_error("invoke_endpoint", "ValidationError", "Endpoint not found", http_status_code=400)
    pause(s3)
    s3.add_client_error("put_object", "SlowDown", http_status_code=503)
    with pytest.raises(errors.StorageUnavailableError, match="waiting/"):
        handler(UPLOAD, None)


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
    runtime: Stubber, s3: Stubber, code: str, status: int, fields: dict[str, Any], error: type[errors.ImageError]
) -> None:
    if error is not errors.ImageRefusedError:  # that one has reached a model
        no_pause(s3)
    runtime.add_client_error(
        "invoke_endpoint", code, "why", http_status_code=status, modeled_fields=fields, response_meta={}
    )
    with pytest.raises(error):
        handler(EVENT, None)


def test_no_connection_may_succeed_later(s3: Stubber, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pause(s3)

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


def test_a_response_that_is_not_a_distribution_is_refused(runtime: Stubber) -> None:
    runtime.add_response("invoke_endpoint", answer(b"[0.5, 0.6]"))
    with pytest.raises(errors.InvalidPredictionError, match=r"sum to 1\.1000"):
        handler(EVENT, None)


@pytest.mark.parametrize(("kind", "read_timeout", "attempts"), [("realtime", 5, 2), ("serverless", 30, 1)])
def test_it_waits_for_a_starting_container_and_requests_no_second_one(
    monkeypatch: pytest.MonkeyPatch, kind: str, read_timeout: int, attempts: int
) -> None:
    monkeypatch.setenv("ENDPOINT_KIND", kind)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config: Any = aws.sagemaker_runtime.__wrapped__().meta.config
    assert config.read_timeout == read_timeout
    assert config.retries["total_max_attempts"] == attempts
