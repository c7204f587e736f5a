import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_src.shared import errors
from lambda_src.shared.predictions import parse_probabilities

CLASSES = ("bicycle", "motorcycle")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"a": 1}', "must return 2 probabilities"),
        (b"[]", "must return 2 probabilities"),
        (b"[1.0]", "must return 2 probabilities"),
        (b"[0.2, 0.3, 0.5]", "must return 2 probabilities"),
        (b"[NaN, 1.0]", "not JSON"),
        (b"[Infinity, 0.0]", "not JSON"),
        (b"[-0.5, 1.5]", "is not a list of probabilities"),
        (b'["0.5", "0.5"]', "is not a list of probabilities"),
        (b"[true, false]", "is not a list of probabilities"),
        (b"[null, 1]", "is not a list of probabilities"),
        (b"[1" + b"0" * 400 + b", 0]", "is not a list of probabilities"),
        (b"[0.5, 0.6]", r"sum to 1\.1000"),
        (b"[0.0, 0.0]", "sum to 0"),
    ],
)
def test_an_invalid_distribution_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(errors.InvalidPredictionError, match=reason):
        parse_probabilities(body, CLASSES)


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=100))
def test_float32_distributions_over_any_number_of_classes_pass(weights: list[float]) -> None:
    probabilities = [float(f"{weight / sum(weights):.7f}") for weight in weights]
    classes = tuple(f"class {index}" for index in range(len(weights)))
    assert parse_probabilities(json.dumps(probabilities).encode(), classes) == probabilities


def test_integers_are_probabilities_too() -> None:
    assert parse_probabilities(b"[1, 0]", CLASSES) == [1.0, 0.0]
