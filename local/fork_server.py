"""The process from which functions' processes are forked: `python -m local.fork_server SOCKET`.

It has imported and parsed what every function needs: the SDK, its models, and those of local/strict.py.
"""

import functools
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import boto3  # noqa: F401
import botocore.session

import local.strict  # noqa: F401 - for what the emulator has each of them import

# The services with clients in lambda_src/shared/aws.py; other models are parsed when needed
_SERVICES = ("s3", "sagemaker-runtime", "sagemaker")


def _parse_models() -> None:
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)  # for all sessions of a function
    session = botocore.session.get_session()
    session.set_credentials("none", "none")
    for service in _SERVICES:
        session.create_client(service, region_name="us-east-1")


def _serve(control: socket.socket) -> None:
    """Fork for each set of four pipes received, and return in the fork; end when the peer closes the socket."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # exit codes are not needed
    while True:
        received, pipes, *_ = socket.recv_fds(control, 1, 4)
        if not received:
            sys.exit()
        if os.fork() == 0:
            break
        for pipe in pipes:
            os.close(pipe)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, pipe in enumerate(pipes[:3]):  # the fourth stays open as long as the process lives
        os.dup2(pipe, number)
        os.close(pipe)


def _become_function() -> None:
    """Run the script that the first line of standard input names, in its folder and environment."""
    start: dict[str, Any] = json.loads(sys.stdin.readline())
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    os.chdir(start["cwd"])
    os.environ.clear()
    os.environ.update(start["env"])
    sys.argv = [start["script"]]
    sys.path[0] = str(Path(start["script"]).parent)  # as Python does; in this process it was the project
    runpy.run_path(start["script"], run_name="__main__")


if __name__ == "__main__":
    _parse_models()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _serve(control)
    _become_function()
