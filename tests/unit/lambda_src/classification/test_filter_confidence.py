import hashlib
import io
import json
from contextlib import nullcontext
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import ANY, Stubber

from lambda_src.classification.filter_confidence import handler
from lambda_src.shared import aws, errors, settings

EVENT = {
    "image_data": "",
    "s3_bucket": "b",
    "s3_key": "test/bike é.png",
    "s3_version_id": "v1",
    "inferences": [0.95, 0.05],
    "label": "bicycle",
    "confidence": 0.95,
}


class _Body:
    """Equal to the JSON bytes of `expected`, for Stubber."""

    def __init__(self, expected: dict[str, Any]) -> None:
        self.expected = expected

    def __eq__(self, other: object) -> bool:
        return isinstance(other, bytes) and json.loads(other) == self.expected

    __hash__ = None  # type: ignore[assignment]


def test_stores_a_confident_prediction_once(s3: Stubber) -> None:
    s3.add_response(
        "put_object",
        {},
        {
            "Bucket": "the-bucket",
            "Key": "predictions/test/bike é.png/v1.json",
            "ContentType": "application/json",
            "IfNoneMatch": "*",
            "Body": _Body(
                {
                    "s3_bucket": "b",
                    "s3_key": "test/bike é.png",
                    "s3_version_id": "v1",
                    "inference_id": hashlib.sha256("b/test/bike é.png/v1".encode()).hexdigest(),
                    "label": "bicycle",
                    "confidence": 0.95,
                    "inferences": [0.95, 0.05],
                }
            ),
        },
    )
    assert handler(EVENT, None) == {**EVENT, "prediction_key": "predictions/test/bike é.png/v1.json"}


def stored(s3: Stubber, content: bytes) -> None:
    s3.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
    where = {"Bucket": "the-bucket", "Key": "predictions/test/bike é.png/v1.json"}
    s3.add_response("get_object", {"Body": io.BytesIO(content)}, where)


def test_a_second_delivery_changes_nothing(s3: Stubber) -> None:
    stored(s3, json.dumps({"label": "bicycle", "confidence": 0.9499999}).encode())
    assert handler(EVENT, None)["prediction_key"] == "predictions/test/bike é.png/v1.json"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b'{"label": "motorcycle"}', "is motorcycle"), (b"{}", "is None"), (b"[" * 100_000, "nested too deeply")],
)
def test_a_different_stored_prediction_is_an_error(s3: Stubber, content: bytes, reason: str) -> None:
    stored(s3, content)
    with pytest.raises(errors.PredictionDiffersError, match=rf"{reason}.*is not overwritten: s3://b/test/bike é\.png"):
        handler(EVENT, None)


def test_a_stored_prediction_that_cannot_be_read_may_be_later(s3: Stubber) -> None:
    s3.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
    s3.add_client_error("get_object", "SlowDown", http_status_code=503)
    with pytest.raises(errors.StorageUnavailableError):
        handler(EVENT, None)


def test_confidence_equal_to_the_threshold_is_accepted(s3: Stubber) -> None:
    s3.add_response("put_object", {}, dict.fromkeys(("Bucket", "Key", "Body", "ContentType", "IfNoneMatch"), ANY))
    handler({**EVENT, "confidence": 0.9}, None)


def test_confidence_under_the_threshold_fails_loudly_and_stores_nothing(s3: Stubber) -> None:
    with pytest.raises(errors.LowConfidenceError, match=r"bicycle with confidence 0\.9000, under 0\.9: s3://b/test"):
        handler({**EVENT, "confidence": 0.8999999}, None)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDenied", 403, errors.PredictionNotStoredError),
        ("NoSuchBucket", 404, errors.PredictionNotStoredError),
        ("SlowDown", 503, errors.StorageUnavailableError),
        ("ConditionalRequestConflict", 409, errors.StorageUnavailableError),
    ],
)
def test_every_refusal_has_a_name(s3: Stubber, code: str, status: int, error: type[errors.ImageError]) -> None:
    s3.add_client_error("put_object", code, http_status_code=status)
    with pytest.raises(error, match=r"predictions/test/bike é\.png/v1\.json"):
        handler(EVENT, None)


def test_a_slow_bucket_may_succeed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def put_object(self, **_: object) -> None:
            raise ReadTimeoutError(endpoint_url="https://s3")

    monkeypatch.setattr(aws, "s3", Slow)
    with pytest.raises(errors.StorageUnavailableError):
        handler(EVENT, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"confidence": None}, "confidence must be a number, not None"),
        ({"confidence": "0.99"}, "confidence must be a number, not '0.99'"),
        ({"confidence": True}, "confidence must be a number"),
        ({"confidence": float("nan")}, "confidence must be a number"),
        ({"s3_version_id": ""}, "s3_version_id is missing"),
    ],
)
def test_an_item_that_skipped_a_step_is_invalid(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=reason):
        handler({**EVENT, **change}, None)


@pytest.mark.parametrize("threshold", ["90", "0", "-1", "nan", "high", ""])
def test_a_bad_threshold_stops_the_function(monkeypatch: pytest.MonkeyPatch, threshold: str) -> None:
    monkeypatch.setenv("CONFIDENCE_THRESHOLD", threshold)
    with pytest.raises(ValueError, match=r"CONFIDENCE_THRESHOLD|could not convert"):
        settings.confidence_threshold()


@pytest.mark.parametrize("confidence", [0.95, 0.5])
@pytest.mark.parametrize("kind", ["realtime", "serverless"])
def test_without_data_capture_the_line_of_metrics_has_the_prediction_for_every_outcome(
    s3: Stubber, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, confidence: float
) -> None:
    monkeypatch.setenv("ENDPOINT_KIND", kind)
    is_accepted = confidence >= 0.9
    if is_accepted:
        s3.add_response("put_object", {})
    with nullcontext() if is_accepted else pytest.raises(errors.LowConfidenceError):
        handler({**EVENT, "confidence": confidence, "inferences": [confidence, 1 - confidence]}, None)
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["ImagesAccepted"] == int(is_accepted)
    recorded = {name: line[name] for name in ("InferenceId", "Probabilities") if name in line}
    assert recorded == (
        {
            "InferenceId": hashlib.sha256("b/test/bike é.png/v1".encode()).hexdigest(),
            "Probabilities": [confidence, 1 - confidence],
        }
        if kind == "serverless"
        else {}
    )
