"""The CDK application: one stage per environment of cdk.json. Needs no account, credentials or network."""

import sys

from aws_cdk import App

from stacks.config import ConfigError, parse_environments
from stacks.environment import Environment


def main() -> None:
    app = App()
    try:
        environments = parse_environments(app.node.try_get_context("environments"))
    except ConfigError as error:
        sys.exit(str(error))
    for config in environments:
        Environment(app, config=config)
    app.synth()


main()
