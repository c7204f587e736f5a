"""The stand-in as a process: `python -m local.sagemaker --port PORT --cache DIRECTORY`."""

import argparse
import json
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local import strict
from local.sagemaker.authorization import ask_emulator, is_known
from local.sagemaker.control_plane import ControlPlane
from local.sagemaker.server import Server

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.sagemaker")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="where trained models are kept between runs")
    arguments = parser.parse_args()
    strict.install()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    control_plane = ControlPlane(cache=arguments.cache, emit=_put_event, authorize=ask_emulator)
    with Server(arguments.port, control_plane, is_known=is_known) as server:
        try:
            server.serve_forever()
        finally:
            control_plane.shut_down()


def _put_event(detail_type: str, detail: dict[str, Any]) -> None:
    entry: PutEventsRequestEntryTypeDef = {
        "Source": "aws.sagemaker",
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
    }
    try:
        boto3.client("events").put_events(Entries=[entry])
    except (BotoCoreError, ClientError):  # as on AWS, an undelivered event has no effect
        logging.exception("event lost: %s", detail_type)


main()
