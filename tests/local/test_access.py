"""Who is answered by the two processes as they run: nobody without a key of theirs."""

import urllib.error
import urllib.request

import pytest

from local import request_guard
from local.cloud import LocalCloud


@pytest.mark.parametrize(
    ("process", "path"),
    [
        ("emulator", "/_ministack/health"),
        ("emulator", "/2015-03-31/functions/"),
        ("emulator", "/_ministack/reset"),
        ("sagemaker", "/ping"),
        ("sagemaker", "/withheld"),
        ("sagemaker", "/endpoints/scones-dev/invocations"),
    ],
)
@pytest.mark.parametrize("body", [None, b"{}"])
@pytest.mark.parametrize("headers", [{}, request_guard.naming("test"), request_guard.naming("000000000000")])
def test_a_request_without_a_key_is_refused(
    cloud: LocalCloud, process: str, path: str, body: bytes | None, headers: dict[str, str]
) -> None:
    url = f"{getattr(cloud, process).url}{path}"
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own address
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request, timeout=30):  # noqa: S310
        pass
    assert refused.value.code == 403
    refused.value.close()


@pytest.mark.parametrize(("process", "path"), [("emulator", "/_ministack/health"), ("sagemaker", "/ping")])
def test_the_same_request_with_the_key_of_this_start_is_answered(cloud: LocalCloud, process: str, path: str) -> None:
    request = getattr(cloud, process).request(path)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own address
        assert answer.status == 200
