"""Unit tests cannot open a socket."""

import moto.s3.models
import pytest
import pytest_socket

# For every request, moto reads the file of S3's URLs twice: a variable could change them, which no test sets
moto.s3.models.reload = lambda module: module  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _no_sockets() -> None:
    pytest_socket.disable_socket()
