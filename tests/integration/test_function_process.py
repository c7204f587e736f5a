import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.function_process import ForkServer, FunctionProcess
from stacks.config import PROJECT_ROOT

# Prints what it sees, then echoes its input
SCRIPT = """
import json, os, sys
imported = [name for name in ("botocore", "stacks") if name in sys.modules]
seen = {"pid": os.getpid(), "environment": dict(os.environ), "folder": os.getcwd(), "path": sys.path}
print(json.dumps({**seen, "imported": imported}), flush=True)
for line in sys.stdin:
    sys.stderr.buffer.write(b"told \\xff\\n")
    sys.stderr.flush()
    print(line, end="", flush=True)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def process(server: ForkServer, tmp_path: Path) -> Iterator[FunctionProcess]:
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT)
    process = server.start(str(script), cwd=str(tmp_path), env={"NAME": "value"})
    yield process
    process.kill()
    process.wait(timeout=60)
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()


def test_a_function_sees_its_own_environment_and_folder_and_nothing_of_the_project(
    process: FunctionProcess, tmp_path: Path
) -> None:
    seen: dict[str, Any] = json.loads(process.stdout.readline())
    assert seen["pid"] == process.pid != os.getpid()
    assert seen["environment"] == {"NAME": "value"}
    assert seen["folder"] == str(tmp_path)
    assert seen["path"][0] == str(tmp_path)
    assert not {"", str(PROJECT_ROOT)} & set(seen["path"])
    assert seen["imported"] == ["botocore"], "that is what the fork saves, and all"


def test_a_function_is_talked_to_until_it_is_ended(process: FunctionProcess) -> None:
    process.stdout.readline()
    process.stdin.write("hello\n")
    assert (process.stdout.readline(), process.stderr.readline()) == ("hello\n", "told \ufffd\n")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    process.terminate()
    assert process.wait(timeout=60) is not None
    assert process.poll() is not None
    assert process.stdout.readline() == ""


def test_a_function_ends_with_its_input(process: FunctionProcess) -> None:
    process.stdin.close()
    assert process.wait(timeout=60) is not None


def test_functions_end_with_the_emulator(tmp_path: Path) -> None:
    """Also when it is killed."""
    script, held = tmp_path / "worker.py", tmp_path / "held"  # a pipe that is open as long as the function lives
    os.mkfifo(held)
    script.write_text(f"held = open({str(held)!r}, 'w')\n{SCRIPT}")
    program = f"""
from local.function_process import ForkServer
process = ForkServer().start({str(script)!r}, cwd={str(tmp_path)!r}, env={{}})
input()
"""
    with (
        subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT_ROOT, stdin=subprocess.PIPE) as emulator,
        held.open() as reading,
    ):
        assert not select.select([reading], [], [], 0)[0]
        emulator.kill()
        assert select.select([reading], [], [], 60)[0]
        assert reading.read() == ""
