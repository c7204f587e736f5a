"""Reading the last pause of the endpoint from the bucket's object."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from lambda_src.shared.errors import StorageUnavailableError
from lambda_src.shared.pause import KEY, last_pause
from stacks.shared import prefixes

REQUEST = {"Bucket": "the-bucket", "Key": KEY}


def answer(s3: Stubber, content: Any) -> None:
    body = json.dumps(content).encode()
    s3.add_response("get_object", {"Body": StreamingBody(io.BytesIO(body), len(body))}, REQUEST)


def test_a_pause_lasts_until_it_is_resumed(s3: Stubber) -> None:
    answer(s3, {"paused_at": "2026-11-26T18:00:00.123Z"})
    pause = last_pause()
    assert pause is not None
    assert pause.paused_at == datetime(2026, 11, 26, 18, 0, 0, 123_000, UTC)
    assert not pause.is_over
    answer(s3, {"paused_at": "2026-11-26T18:00:00.123Z", "resumed_at": "2026-11-27T08:00:00Z"})
    pause = last_pause()
    assert pause is not None
    assert pause.is_over


@pytest.mark.parametrize(("code", "status"), [("NoSuchKey", 404), ("AccessDenied", 403)])
def test_a_missing_object_is_no_pause(s3: Stubber, code: str, status: int) -> None:
    s3.add_client_error("get_object", code, http_status_code=status, expected_params=REQUEST)
    assert last_pause() is None


def test_a_pause_that_cannot_be_read_may_be_read_later(s3: Stubber) -> None:
    s3.add_client_error("get_object", "SlowDown", http_status_code=503, expected_params=REQUEST)
    with pytest.raises(StorageUnavailableError, match="SlowDown"):
        last_pause()


def test_the_object_is_where_the_stacks_allow_it() -> None:
    assert KEY == prefixes.PAUSE
