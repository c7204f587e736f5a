"""The processes of a local cloud."""

import os
import subprocess
import sys

import pytest

from local.cloud import Process


def test_a_process_is_known_by_its_command_line_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # a slim image has no `ps`
    program = "print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()  # until then it may have no command line
        recorded = Process(program=program, pid=child.pid)
        assert recorded.is_ours()
        assert not Process(program="local.emulator", pid=child.pid).is_ours()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie until the block ends
        assert not recorded.is_ours()
    assert not recorded.is_ours()
