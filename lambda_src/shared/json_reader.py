"""JSON that others wrote, such as captures, labels and objects of the bucket.

`json.loads` raises RecursionError for a few kilobytes of brackets, and takes NaN and infinity, which JSON does not have
(RFC 8259, section 6). Here all that is wrong with a text is a ValueError.
"""

import json
import math
from typing import Any, NoReturn, Protocol

# The largest of this project's own documents, the predictions for 200,000 validation images, have half of it
MAX_BYTES = 64 << 20


class DocumentError(ValueError):
    """When a JSON document that others wrote cannot be read; the message names it and says why."""


class Readable(Protocol):
    def read(self, amt: int | None = None, /) -> bytes: ...


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text, in UTF-8; raises ValueError."""
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")  # with or without the mark that some editors write first
    try:
        value = _DECODER.decode(text)
        if "\\" in text:  # half a surrogate pair can be escaped, and then neither stored nor printed (section 8.2)
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(body: Readable, *, name: str) -> dict[str, Any]:
    """The object that the JSON document `name` holds; raises DocumentError."""
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
    """`1e999` is JSON, but no number of Python's."""
    value = float(number)
    return value if math.isfinite(value) else _refuse(number)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
