"""`python -m local`: deploys the synthesized environment into an AWS emulator, with a trained model at its endpoint."""

import signal

import typer

from data_prep import command_line
from data_prep.command_line import Command
from local.cloud import LocalCloud, LocalCloudError
from local.demonstration import UnexpectedError

COMMANDS = {
    "up": Command("local.lifecycle:up"),
    "env": Command("local.shell:env"),
    "exec": Command(
        "local.shell:exec_", "aws s3 ls", {"ignore_unknown_options": True, "allow_interspersed_args": False}
    ),
    "deploy": Command("local.deployment:deploy_environment"),
    "train": Command("local.prepare:train"),
    "run": Command("local.classification:run"),
    "drift": Command("local.drift:drift"),
    "retrain": Command("local.retraining:retrain"),
    "review": Command("local.review:review"),
    "dev": Command("local.dev.session:dev"),
    "down": Command("local.lifecycle:down"),
    "all": Command("local.lifecycle:all_"),
}


def application(only: str = "") -> typer.Typer:
    return command_line.application("local", __doc__, COMMANDS, only=only)


def _interrupt(*_: object) -> None:
    # Once, so that a second signal does not interrupt the clean-up
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    LocalCloud.stop_commands()
    raise KeyboardInterrupt


def main() -> None:
    # A terminated run cleans up as one that was interrupted
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    command_line.run(application, None, program="python -m local", errors=(LocalCloudError, UnexpectedError))


if __name__ == "__main__":
    main()
