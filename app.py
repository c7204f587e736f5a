"""The CDK application: one stage per environment of cdk.json. Needs no account, credentials or network.

The context `only` names a single environment to synthesize. All environments are validated either way.
"""

import sys

from aws_cdk import App

from stacks.config import ConfigError, parse_environments
from stacks.environment import Environment


def synthesize(app: App) -> None:
    """Write the cloud assembly; exits with one line on stderr if the configuration is invalid."""
    try:
        environments = parse_environments(app.node.try_get_context("environments"))
    except ConfigError as error:
        sys.exit(str(error))
    only = app.node.try_get_context("only")
    if only not in {None, *(config.name for config in environments)}:
        sys.exit(
            f"context only={only}: cdk.json has no such environment; it has {', '.join(c.name for c in environments)}"
        )
    for config in environments:
        if only in {None, config.name}:
            Environment(app, config=config)
    app.synth()


if __name__ == "__main__":
    synthesize(App())
