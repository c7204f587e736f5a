"""Unit tests cannot open a socket."""

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def _no_sockets() -> None:
    pytest_socket.disable_socket()


@pytest.fixture(scope="session", autouse=True)
def _urls_are_read_once() -> None:
    """For every request, moto reads the file of S3's URLs twice: a variable could change them, which no test sets."""
    from moto.s3 import models  # noqa: PLC0415 - the process that only distributes the tests would load it, too

    models.reload = lambda module: module  # type: ignore[attr-defined]
