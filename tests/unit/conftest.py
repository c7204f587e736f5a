"""Unit tests cannot open a socket."""

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def _no_sockets() -> None:
    pytest_socket.disable_socket()


@pytest.fixture(scope="session", autouse=True)
def _requests_are_quick() -> None:
    """Omit what moto does for these tests in vain, which takes a quarter of the time."""
    # The process that only distributes the tests would load them, too
    from moto import backend_index  # noqa: PLC0415
    from moto.core import models as core  # noqa: PLC0415
    from moto.s3 import models as s3  # noqa: PLC0415

    # For every request, moto reads the file of S3's URLs twice: a variable could change them, which no test sets
    s3.reload = lambda module: module  # type: ignore[attr-defined]
    # It compares each with the URLs of a hundred services before those of S3, which gets nearly all
    backend_index.backend_url_patterns.sort(key=lambda service_and_pattern: service_and_pattern[0] != "s3")
    # For every account, it would answer the library `requests` at a thousand URLs as well
    core.RESPONSES_METHODS = []
