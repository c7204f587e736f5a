"""Compares the synthesis of the environments with that of an empty one-stack CDK app, in the same run.

python -m benchmarks.synth
"""

import json
import os
import resource
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
PHASES = ("imports", "constructs", "App.synth")
# Runs a program, and prints the seconds until it creates its App, calls `synth`, and returns from it
TIMER = """
import json, sys, time
begin = time.perf_counter()
import aws_cdk
marks = []
def marked(method):
    def call(*arguments, **members):
        marks.append(time.perf_counter())
        return method(*arguments, **members)
    return call
aws_cdk.App.__init__, aws_cdk.App.synth = marked(aws_cdk.App.__init__), marked(aws_cdk.App.synth)
exec(sys.argv[1])
marks.append(time.perf_counter())
print(json.dumps([end - start for start, end in zip([begin, *marks], marks)]))
"""


def main() -> None:
    context = json.loads((PROJECT_ROOT / "cdk.json").read_text())["context"]
    environments = context["environments"]
    app = (PROJECT_ROOT / "app.py").read_text()
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "empty app": (EMPTY, {}),
        "dev": (app, {**context, "environments": {"dev": environments["dev"]}}),
        "dev and prod": (app, context),
    }
    measured: dict[str, list[list[float]]] = {name: [] for name in cases}
    for _ in range(RUNS):
        for name, (program, case_context) in cases.items():
            measured[name].append(seconds_of(program, case_context))
    medians = {
        name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in measured.items()
    }
    floor = medians["empty app"][0]
    table = Table("synthesis", "CPU s", "ratio to empty", "wall s", *(f"{phase} s" for phase in PHASES), box=None)
    for name, (cpu, *seconds) in medians.items():
        table.add_row(name, f"{cpu:.2f}", f"{cpu / floor:.2f}", *(f"{value:.2f}" for value in seconds))
    Console().print(table)


def seconds_of(program: str, context: dict[str, Any]) -> list[float]:
    """CPU seconds and wall seconds of the process with its children, and the wall seconds of each phase."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CDK_OUTDIR": folder, "CDK_CONTEXT_JSON": json.dumps(context)}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        started, cpu_before = time.perf_counter(), cpu_of_children()
        done = subprocess.run(
            [sys.executable, "-c", TIMER, program], cwd=PROJECT_ROOT, env=environment, capture_output=True, check=True
        )
        wall, cpu = time.perf_counter() - started, cpu_of_children() - cpu_before
        return [cpu, wall, *json.loads(done.stdout.splitlines()[-1])]


def cpu_of_children() -> float:
    """CPU seconds of all child processes that have ended, with theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
