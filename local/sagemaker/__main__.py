"""The stand-in as a process: `python -m local.sagemaker --port PORT --cache DIRECTORY`."""

import argparse
import signal
import sys
from pathlib import Path

from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.server import Server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.sagemaker")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="where trained models are kept between runs")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    control_plane = ControlPlane(cache=arguments.cache)
    with Server(arguments.port, control_plane) as server:
        try:
            server.serve_forever()
        finally:
            control_plane.shut_down()


main()
