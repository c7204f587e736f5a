"""The CDK application: one stage per environment of cdk.json. Needs no account, credentials or network.

The context `only` names a single environment to synthesize. All environments are validated either way.
"""

import sys

from aws_cdk import App

from stacks.config import ConfigError, parse_environments
from stacks.environment import Environment

app = App()
try:
    environments = parse_environments(app.node.try_get_context("environments"), only=app.node.try_get_context("only"))
except ConfigError as error:
    sys.exit(str(error))
for config in environments:
    Environment(app, config=config)
app.synth()
