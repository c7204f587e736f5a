"""Evaluate JSONata expressions again with the reference implementation (npm `jsonata`), and compare.

The emulator evaluates with jsonata-python, a port; Step Functions supports version 2.0.6 of the original
(https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html).
"""

import atexit
import json
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import IO, Any

from stacks.config import PROJECT_ROOT

Case = dict[str, Any]  # as local/expressions.py records it


def disagreements(cases: Sequence[Case]) -> list[str]:
    """The results of the two implementations for the same expression and input, if they differ.

    That both refuse an expression is agreement, whatever they call the error.
    """
    results = [_evaluated_by_the_reference(case) for case in cases]
    return [
        f"{case['expression']}\n  of {json.dumps(case['states'])[:500]}\n  emulator:  {_outcome(case)[:500]}\n"
        f"  reference: {_outcome(result)[:500]}"
        for case, result in zip(cases, results, strict=True)
        if ("error" in case) != ("error" in result) or ("value" in case and _outcome(case) != _outcome(result))
    ]


def _evaluated_by_the_reference(case: Case) -> Case:
    questions, answers = _reference()
    questions.write(f"{json.dumps(case)}\n")
    questions.flush()
    result: Case = json.loads(answers.readline())
    return result


@cache
def _reference() -> tuple[IO[str], IO[str]]:
    """Standard input and output of a process that evaluates a line at a time, and ends with this one."""
    node = subprocess.Popen(
        ["node", str(PROJECT_ROOT / "tests" / "second_opinion.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert node.stdin
    assert node.stdout
    atexit.register(node.communicate)
    return node.stdin, node.stdout


def _outcome(result: Case) -> str:
    if "error" in result:
        return f"error: {result['error']}"
    return json.dumps(_as_javascript(result["value"]), sort_keys=True)


def _as_javascript(value: Any) -> Any:
    """JavaScript has one kind of number: 1.0 is 1."""
    if isinstance(value, list):
        return [_as_javascript(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_javascript(member) for name, member in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
