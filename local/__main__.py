"""The local cloud: the synthesized environment in an AWS emulator, with a trained model behind its endpoint."""

import signal

from data_prep import command_line
from local.classification import run
from local.cloud import LocalCloud, LocalCloudError
from local.demonstration import UnexpectedError
from local.deployment import deploy_environment
from local.dev.session import dev
from local.drift import drift
from local.lifecycle import all_, down, up
from local.prepare import train
from local.retraining import retrain
from local.review import review
from local.shell import env, exec_

app = command_line.application("local", __doc__)
app.command()(up)
app.command()(env)
app.command(
    "exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: python -m local exec aws s3 ls",
)(exec_)
app.command("deploy")(deploy_environment)
app.command()(train)
app.command()(run)
app.command()(drift)
app.command()(retrain)
app.command()(review)
app.command()(dev)
app.command()(down)
app.command("all")(all_)


def _interrupt(*_: object) -> None:
    # Once: a second signal must not interrupt the clean-up
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    LocalCloud.stop_commands()
    raise KeyboardInterrupt


def main() -> None:
    # A terminated run cleans up as one that was interrupted
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    command_line.run(app, None, program="python -m local", errors=(LocalCloudError, UnexpectedError))


if __name__ == "__main__":
    main()
