"""Reads JSON from untrusted sources, such as captures, labels and objects of the bucket.

`json.loads` raises RecursionError for a few kilobytes of brackets, and accepts NaN and infinity, which are not JSON
(RFC 8259, section 6). These functions raise ValueError for all of that.
"""

import json
import math
from typing import Any, NoReturn, Protocol

# Twice the largest document that this project writes, the predictions for 200,000 validation images
MAX_BYTES = 64 << 20


class DocumentError(ValueError):
    """When a JSON document cannot be read; the message names it and says why."""


class Readable(Protocol):
    def read(self, amt: int | None = None, /) -> bytes: ...


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text, in UTF-8; raises ValueError."""
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")  # with or without the byte order mark that some editors write
    try:
        value = _DECODER.decode(text)
        if "\\" in text:  # escapes can make half a surrogate pair, which cannot be stored or printed (section 8.2)
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(body: Readable, *, name: str) -> dict[str, Any]:
    """The JSON object in `body`, a document called `name`; raises DocumentError."""
    text = body.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise DocumentError(f"{name} has over {MAX_BYTES >> 20} MiB")
    try:
        content = parse_json(text)
    except ValueError as error:
        raise DocumentError(f"{name} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise DocumentError(f"{name} holds {type(content).__name__}, not an object")
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    """`1e999` is valid JSON, but Python parses it as infinity."""
    value = float(number)
    return value if math.isfinite(value) else _refuse(number)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
