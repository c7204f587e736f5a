"""Synthesis beside an empty one-stack CDK app in the same run.

python -m benchmarks.synth
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stacks.config import PROJECT_ROOT

RUNS = 5
EMPTY = "from aws_cdk import App, Stack; app = App(); Stack(app, 'Empty'); app.synth()"


def main() -> None:
    context = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]
    environments = context["environments"]
    cases: dict[str, tuple[list[str], dict[str, Any]]] = {
        "import aws_cdk": (["-c", "import aws_cdk"], {}),
        "empty app": (["-c", EMPTY], {}),
        "dev": (["app.py"], {**context, "environments": {"dev": environments["dev"]}}),
        "dev and prod": (["app.py"], context),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(RUNS):
        for name, (arguments, case_context) in cases.items():
            times[name].append(seconds_of(arguments, case_context))
    floor = statistics.median(times["empty app"])
    table = Table("synthesis", "s", "ratio to empty", box=None, pad_edge=False)
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        table.add_row(name, f"{middle:.2f}", f"{middle / floor:.2f}")
    Console().print(table)


def seconds_of(arguments: list[str], context: dict[str, Any]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CDK_OUTDIR": folder, "CDK_CONTEXT_JSON": json.dumps(context)}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=PROJECT_ROOT, env=environment, capture_output=True, check=True)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
