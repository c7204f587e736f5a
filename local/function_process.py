"""Processes of functions, forked from one that has imported what every function imports: local/fork_server.py.

Starting Python, importing the SDK and parsing its models takes half a second of a core, forking a twentieth of that. A
function has the same view as in a new process: its code, environment, folder and pipes, and nothing of the project.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO


class FunctionProcess:
    """The part of subprocess.Popen that the emulator uses."""

    def __init__(self, pid: int, *, stdin: IO[str], stdout: IO[str], stderr: IO[str], alive: int) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._alive = alive  # a pipe that closes when the process ends

    def __del__(self) -> None:
        os.close(self._alive)

    def poll(self) -> int | None:
        """None while the process runs; then 0, as its exit code is unknown."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        ended = self._ended(timeout)
        if ended is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return ended

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _ended(self, timeout: float | None) -> int | None:
        pipe = select.poll()  # select() takes no file descriptor above 1023, and a cloud may have that many
        pipe.register(self._alive, select.POLLHUP)
        return 0 if pipe.poll(None if timeout is None else timeout * 1000) else None


class ForkServer:
    """The process that is forked. It ends with this one, which has the other end of its socket."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            command = [sys.executable, "-m", "local.fork_server", str(theirs.fileno())]
            project = Path(__file__).parents[1]
            self._process = subprocess.Popen(command, cwd=project, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def close(self) -> None:
        """End the process, but not its children."""
        self._control.close()
        self._process.wait()

    def start(self, script: str, *, cwd: str, env: Mapping[str, str]) -> FunctionProcess:
        """Run a Python script; raises OSError if the process to be forked has ended."""
        (stdin, ours_in), (ours_out, stdout), (ours_err, stderr), (ours_alive, alive) = (os.pipe() for _ in range(4))
        theirs = [stdin, stdout, stderr, alive]
        with self._lock:
            socket.send_fds(self._control, [b"."], theirs)
        for pipe in theirs:
            os.close(pipe)
        writing = os.fdopen(ours_in, "w", buffering=1)
        reading = os.fdopen(ours_out)
        writing.write(json.dumps({"script": script, "cwd": cwd, "env": dict(env)}) + "\n")
        pid = reading.readline()
        if not pid:
            raise OSError("the process that functions are forked from has ended")
        return FunctionProcess(
            int(pid), stdin=writing, stdout=reading, stderr=os.fdopen(ours_err, errors="replace"), alive=ours_alive
        )
