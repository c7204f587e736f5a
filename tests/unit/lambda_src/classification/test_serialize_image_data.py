import base64
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from lambda_src.classification import classifier, filter_confidence, serialize_image_data
from lambda_src.classification.serialize_image_data import MAX_IMAGE_BYTES, handler
from lambda_src.shared import aws, errors
from lambda_src.shared.item import MAX_KEY_BYTES
from tests.unit.lambda_src.shared.test_image_format import encoded

EVENT = {"image_data": "", "s3_bucket": "b", "s3_key": "test/bike é.png"}


def answer(data: bytes, **more: Any) -> dict[str, Any]:
    body = StreamingBody(io.BytesIO(data), len(data))
    fixed = {"ETag": '"e"', "VersionId": "v1", "LastModified": datetime(2026, 1, 1, tzinfo=UTC)}
    return {"Body": body, "ContentLength": len(data), **fixed, **more}


def test_puts_the_image_and_its_version_into_the_event(s3: Stubber) -> None:
    data = encoded("PNG")
    s3.add_response("get_object", answer(data), {"Bucket": "b", "Key": "test/bike é.png"})
    result = handler({**EVENT, "ticket": 7}, None)
    assert base64.b64decode(result.pop("image_data")) == data
    assert result == {"s3_bucket": "b", "s3_key": "test/bike é.png", "s3_version_id": "v1", "ticket": 7}


def test_reads_the_version_that_the_event_names(s3: Stubber) -> None:
    s3.add_response("get_object", answer(encoded("JPEG")), {"Bucket": "b", "Key": "test/bike é.png", "VersionId": "v0"})
    handler({**EVENT, "s3_version_id": "v0"}, None)


@pytest.mark.parametrize("version", [None, "null"])
def test_uses_the_etag_if_there_are_no_versions(s3: Stubber, version: str | None) -> None:
    """Every object has the version `null` that was written while versioning was off or suspended."""
    response = answer(encoded("PNG"))
    del response["VersionId"]
    s3.add_response("get_object", response | ({"VersionId": version} if version else {}))
    assert handler({**EVENT, "s3_version_id": ""}, None)["s3_version_id"] == "e"


@pytest.mark.parametrize("step", [serialize_image_data, classifier, filter_confidence])
@pytest.mark.parametrize("body", [EVENT, json.dumps(EVENT), {"statusCode": 200, "body": EVENT}])
def test_a_step_reports_that_it_got_the_originals_envelope(step: Any, body: Any) -> None:
    with pytest.raises(errors.InvalidInputError, match="send the content of `body` instead"):
        step.handler({"statusCode": 200, "body": body}, None)


def test_a_large_object_is_refused_unread(s3: Stubber) -> None:
    response = answer(b"never read", ContentLength=MAX_IMAGE_BYTES + 1)
    s3.add_response("get_object", response)
    with pytest.raises(errors.ImageTooLargeError, match=r"190,001 bytes.*at most 190,000: s3://b/test/bike é\.png"):
        handler(EVENT, None)
    assert response["Body"]._amount_read == 0


@pytest.fixture
def any_bytes_are_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialize_image_data, "check_image", lambda *_, **__: None)


@pytest.mark.parametrize("character", ["k", "é", "🚲", "\n"])
def test_the_largest_image_with_the_longest_key_fits_through_a_state(
    s3: Stubber, any_bytes_are_an_image: None, character: str
) -> None:
    key = character * (MAX_KEY_BYTES // len(character.encode()))
    s3.add_response("get_object", answer(bytes(MAX_IMAGE_BYTES), VersionId="v" * 1024))
    item = handler({"image_data": "", "s3_bucket": "b" * 63, "s3_key": key}, None)
    assert len(json.dumps(item, ensure_ascii=False).encode()) < 262_144


def test_an_item_that_leaves_its_image_no_room_is_refused(s3: Stubber, any_bytes_are_an_image: None) -> None:
    """Beyond the limit of a state Step Functions ends the execution, with every image in it."""
    s3.add_response("get_object", answer(bytes(MAX_IMAGE_BYTES)))
    with pytest.raises(errors.ImageTooLargeError, match=r"with the item's other members.*s3://b/test/bike é\.png"):
        handler({**EVENT, "comment": "x" * 9_000}, None)


def test_a_message_that_quotes_others_is_cut() -> None:
    assert len(str(errors.ImageRefusedError("x" * 100_000))) == errors.MAX_MESSAGE_CHARACTERS


def test_an_object_that_ends_early_is_corrupt(s3: Stubber) -> None:
    data = encoded("PNG")
    s3.add_response("get_object", answer(data[:50], ContentLength=len(data)))
    with pytest.raises((errors.CorruptImageError, errors.StorageUnavailableError)):
        handler(EVENT, None)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("NoSuchKey", 404, errors.ImageNotFoundError),
        ("NoSuchVersion", 404, errors.ImageNotFoundError),
        ("NoSuchBucket", 404, errors.ImageNotFoundError),
        ("MethodNotAllowed", 405, errors.ImageNotFoundError),  # a delete marker, asked for by its version
        ("AccessDenied", 403, errors.ImageAccessDeniedError),
        ("InvalidBucketName", 400, errors.InvalidInputError),
        ("SlowDown", 503, errors.StorageUnavailableError),
        ("InternalError", 500, errors.StorageUnavailableError),
    ],
)
def test_every_refusal_of_s3_has_a_name(s3: Stubber, code: str, status: int, error: type[errors.ImageError]) -> None:
    s3.add_client_error("get_object", code, http_status_code=status)
    with pytest.raises(error, match=r"s3://b/test/bike é\.png"):
        handler(EVENT, None)


def test_no_connection_may_succeed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def get_object(self, **_: object) -> None:
            raise ConnectTimeoutError(endpoint_url="https://s3")

    monkeypatch.setattr(aws, "s3", Unreachable)
    with pytest.raises(errors.StorageUnavailableError):
        handler(EVENT, None)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("text", "an image is an object with s3_bucket and s3_key, not 'text'"),
        (None, "not None"),
        ([EVENT], "an image is an object"),
        ({}, "s3_key must be a non-empty string, not None"),
        ({"s3_bucket": "", "s3_key": "k"}, "s3_bucket must be a non-empty string, not ''"),
        ({"s3_bucket": "b", "s3_key": 5}, "s3_key must be a non-empty string, not 5"),
        ({"s3_bucket": "b", "s3_key": "k", "s3_version_id": ["v"]}, "s3_version_id must be"),
        ({"s3_bucket": "b", "s3_key": "k\ud800"}, "not valid Unicode"),
        ({"s3_bucket": "no such/bucket?", "s3_key": "k"}, "Invalid bucket name"),
        ({"s3_bucket": "b", "s3_key": "ü" * 451}, "longer than 900 bytes: 'üüü.*…$"),
    ],
)
def test_bad_input_is_named(event: Any, reason: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=reason):
        handler(event, None)
