"""Records the JSONata expressions that a run evaluates, with inputs and results, so that tests can evaluate them again.

The environment variable `RECORD_EXPRESSIONS` names the file, which tests/second_opinion.py reads.
"""

import json
import threading
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TextIO

import jsonata
from ministack.services import stepfunctions

VARIABLE = "RECORD_EXPRESSIONS"
# Each expression with each shape of its input is recorded once; a run has a few thousand of them
MAX_RECORDS = 20_000


def record(path: Path) -> None:
    """Write a line for each new evaluation: `{"expression", "states", "variables", "millis", "value" or "error"}`."""
    evaluate = stepfunctions._evaluate_jsonata
    recorder = _Recorder(path.open("w", encoding="utf-8"))

    def evaluate_and_record(
        expression: str, raw_input: Any, ctx: Any = None, result: Any = None, error_output: Any = None
    ) -> Any:
        states = {
            "input": raw_input,
            "context": _documented(ctx or {}),
            # The emulator has None for missing members
            **({} if result is None else {"result": result}),
            **({} if error_output is None else {"errorOutput": error_output}),
        }
        variables = (ctx or {}).get("variables", {})
        try:
            value = evaluate(expression, raw_input, ctx, result, error_output)
        except stepfunctions._ExecutionError as error:
            recorder.add(expression, states, variables, {"error": str(error)})
            raise
        recorder.add(expression, states, variables, {"value": value})
        return value

    stepfunctions._evaluate_jsonata = evaluate_and_record


def _documented(context: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the context object, without the emulator's own."""
    return {name: value for name, value in context.items() if name[0].isupper() and isinstance(value, dict)}


class _Recorder:
    """Writes evaluations that differ from all earlier ones."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._seen: set[Hashable] = set()
        self._lock = threading.Lock()

    def add(
        self, expression: str, states: Mapping[str, Any], variables: Mapping[str, Any], outcome: Mapping[str, Any]
    ) -> None:
        key = (expression, shape(states))
        with self._lock:
            if key in self._seen or len(self._seen) >= MAX_RECORDS:
                return
            self._seen.add(key)
            line = {
                "expression": expression,
                "states": states,
                "variables": variables,
                "millis": jsonata.Jsonata.CURRENT.jsonata.timestamp,  # the value of $millis()
                **outcome,
            }
            self._file.write(f"{json.dumps(line, default=str)}\n")
            self._file.flush()


def shape(value: Any) -> Hashable:
    """Equal for values of the same shape: the same members with the same types of values."""
    match value:
        case dict():
            return tuple(sorted((name, shape(member)) for name, member in value.items()))
        case list():
            return (min(len(value), 2), frozenset(shape(item) for item in value))
        case str():
            return (bool(value), value.isascii(), value[:1] in {"{", "["})
        case _:
            return (type(value).__name__, bool(value))
