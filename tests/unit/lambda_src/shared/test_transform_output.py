"""Batch Transform's output for an image, in every format that AWS documents."""

import pytest

from lambda_src.shared.errors import InvalidPredictionError
from lambda_src.shared.transform_output import output_keys, parse_output

CLASSES = ("bicycle", "motorcycle")


@pytest.mark.parametrize(
    "body",
    [
        b'{"prediction": [0.75, 0.25]}\n',
        b'{\n  "prediction": [\n    0.75,\n    0.25\n  ]\n}\n',
        b"[0.75, 0.25]",
        b"\n[0.75, 0.25]\n\n",
    ],
)
def test_a_prediction_is_read_alone_or_by_its_name_on_one_line_or_several(body: bytes) -> None:
    assert parse_output(body, CLASSES) == [0.75, 0.25]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "must write one"),
        (b"no JSON", "must write one"),
        (b'{"prediction": [1, 0]}\n{"prediction": [0, 1]}\n', "must write one .* for an image"),
        (b'{"predictions": [1, 0]}', "must return 2 probabilities"),
        (b'{"prediction": [0.5, 0.25, 0.25]}', "must return 2 probabilities"),
        (b"[[1, 0]]", "must return 2 probabilities"),
    ],
)
def test_anything_else_is_not_a_prediction(body: bytes, message: str) -> None:
    with pytest.raises(InvalidPredictionError, match=message):
        parse_output(body, CLASSES)


@pytest.mark.parametrize(
    ("image_key", "input_prefix", "paths"),
    [
        ("incoming/a/b.png", "incoming/a/", ["b.png", "incoming/a/b.png"]),
        ("incoming/a/b.png", "incoming/", ["a/b.png", "incoming/a/b.png"]),
        ("incoming/a/b.png", "", ["incoming/a/b.png"]),
    ],
)
def test_an_output_is_below_the_jobs_output_with_or_without_the_inputs_prefix(
    image_key: str, input_prefix: str, paths: list[str]
) -> None:
    found = output_keys("transforms/run/", image_key=image_key, input_prefix=input_prefix)
    assert found == [f"transforms/run/{path}.out" for path in paths]
