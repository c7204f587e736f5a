"""The script as Model Monitor's container calls it: alone, with a record object."""

import ast
import base64
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from lambda_src.monitoring import record_preprocessor
from lambda_src.monitoring.record_preprocessor import image_size, preprocess_handler


def image(format_name: str, size: tuple[int, int] = (40, 32), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(buffer, format_name, **options)
    return buffer.getvalue()


def record(picture: bytes, answer: str = "[0.25, 0.75]", encoding: str = "JSON") -> SimpleNamespace:
    data = base64.b64encode(answer.encode()).decode() if encoding == "BASE64" else answer
    return SimpleNamespace(
        endpoint_input=SimpleNamespace(data=base64.b64encode(picture).decode(), encoding="BASE64"),
        endpoint_output=SimpleNamespace(data=data, encoding=encoding),
    )


@pytest.mark.parametrize("encoding", ["JSON", "BASE64"])
def test_a_captured_image_becomes_a_flat_row_of_numbers(encoding: str) -> None:
    picture = image("PNG")
    row = preprocess_handler(record(picture, encoding=encoding))
    assert row == {
        "image_bytes": len(picture),
        "image_width": 40,
        "image_height": 32,
        "bits_per_pixel": 8 * len(picture) / 1280,
        "prediction": 1,
        "confidence": 0.75,
        "probability_0": 0.25,
        "probability_1": 0.75,
    }
    assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize(("format_name", "options"), [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True})])
def test_the_size_of_every_format_that_the_workflow_takes(format_name: str, options: dict[str, Any]) -> None:
    assert image_size(image(format_name, (123, 45), **options)) == (123, 45)


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xda\x00\x02", b"\xff" * 99]
)
def test_what_is_no_image_has_no_size(data: bytes) -> None:
    assert image_size(data) == (0, 0)
    assert preprocess_handler(record(data))["bits_per_pixel"] == 0


@pytest.mark.parametrize(
    "bad",
    [
        SimpleNamespace(),
        SimpleNamespace(endpoint_input=None, endpoint_output=None),
        record(b"x", answer="[]"),
        record(b"x", answer="nonsense"),
        record(b"x", answer='["a"]'),
        record(b"x", answer="null"),
    ],
)
def test_a_record_that_is_no_answered_image_is_dropped(bad: Any) -> None:
    assert preprocess_handler(bad) == {}


def test_the_script_stands_alone() -> None:
    """The container has this file and a Python, nothing else of ours."""
    tree = ast.parse(Path(record_preprocessor.__file__).read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= sys.stdlib_module_names
