import io

import pytest

from lambda_src.monitoring.captures import parse_capture
from lambda_src.monitoring.ground_truth import parse_label
from lambda_src.shared import json_reader
from lambda_src.shared.baseline import Baseline, BaselineError
from lambda_src.shared.errors import InvalidPredictionError
from lambda_src.shared.json_reader import parse_json, read_json
from lambda_src.shared.predictions import parse_probabilities
from lambda_src.shared.transform_output import parse_output

CLASSES = ("bicycle", "motorcycle")
NESTED = b"[" * 100_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (NESTED, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[NaN]", "NaN is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (rb'{"\ud83d": 1}', "surrogates not allowed"),
        (rb'["\ude00\ud83d"]', "surrogates not allowed"),
        (b"[1e999]", "1e999 is not JSON"),
        (b"1" * 5000, "integer string conversion"),
        (b'"\xff"', "can't decode"),
        (b"", "Expecting value"),
        (b"[1] [2]", "Extra data"),
    ],
)
def test_any_problem_is_a_value_error(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_a_complete_surrogate_pair_is_read() -> None:
    assert parse_json(rb'"\ud83d\ude00"') == "\U0001f600"


def test_json_is_read_with_and_without_a_byte_order_mark() -> None:
    assert parse_json(b'{"key": "\xc3\xa9"}') == parse_json(b'\xef\xbb\xbf{"key": "\xc3\xa9"}') == {"key": "é"}


def test_a_document_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_json(io.BytesIO(b"{}"), name="a.json") == {}
    with pytest.raises(ValueError, match=r"^a\.json is not JSON: nested"):
        read_json(io.BytesIO(NESTED), name="a.json")
    with pytest.raises(ValueError, match=r"^a\.json holds list, not an object"):
        read_json(io.BytesIO(b"[]"), name="a.json")
    monkeypatch.setattr(json_reader, "MAX_BYTES", 1 << 20)
    with pytest.raises(ValueError, match=r"^a\.json has over 1 MiB"):
        read_json(io.BytesIO(bytes(2 << 20)), name="a.json")


def test_nested_json_from_others_breaks_no_reader() -> None:
    """One such line in a capture ended the drift monitor, the accuracy and every command that reads captures."""
    capture = b'{"captureData": {"endpointOutput": {"encoding": "JSON", "data": "%b"}}, "eventMetadata": ' % NESTED
    capture += b'{"eventId": "e", "inferenceTime": "2026-11-25T01:54:00Z"}}'
    with pytest.raises(InvalidPredictionError):
        parse_capture(capture, CLASSES)
    with pytest.raises(InvalidPredictionError):
        parse_probabilities(NESTED, CLASSES)
    with pytest.raises(InvalidPredictionError):
        parse_output(NESTED, CLASSES)
    with pytest.raises(ValueError, match="nested"):
        parse_label(NESTED, CLASSES, "bucket")
    with pytest.raises(BaselineError, match="nested"):
        Baseline.from_json(NESTED)
