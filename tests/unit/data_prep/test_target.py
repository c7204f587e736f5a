"""Which AWS the commands talk to."""

import pytest

from data_prep.target import Target


@pytest.mark.parametrize(
    ("endpoint", "is_local"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://[::1]:4566", True),
        ("http://localhost:4566", True),
        ("https://cloudformation.eu-west-1.amazonaws.com", False),
        ("http://10.0.0.1:4566", False),
        ("https://localhost.example.com", False),
    ],
)
def test_only_an_endpoint_of_this_machine_is_local(endpoint: str, is_local: bool) -> None:
    assert Target(account="123456789012", region="eu-west-1", endpoint=endpoint).is_local is is_local
