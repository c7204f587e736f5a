"""The CDK application: one stage per environment of cdk.json. Needs no account, credentials or network.

The context `only` names the one environment to synthesize; all of them are checked even so.
"""

import sys

from aws_cdk import App

from stacks.config import ConfigError, parse_environments
from stacks.environment import Environment


def synthesize(app: App) -> None:
    """Write the cloud assembly of the app's context; ends the program with a line if that has a mistake."""
    try:
        environments = parse_environments(app.node.try_get_context("environments"))
    except ConfigError as error:
        sys.exit(str(error))
    only = app.node.try_get_context("only")
    if only not in {None, *(config.name for config in environments)}:
        sys.exit(f"context only={only}: cdk.json has no such environment")
    for config in environments:
        if only in {None, config.name}:
            Environment(app, config=config)
    app.synth()


if __name__ == "__main__":
    synthesize(App())
