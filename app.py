"""The CDK application: one stage per environment of cdk.json. Needs no account, credentials or network.

The context `only` names a single environment to synthesize. All environments are validated either way.
"""

import sys

from aws_cdk import App

from stacks.config import ConfigError
from stacks.environment import add_environments

app = App()
try:
    add_environments(app)
except ConfigError as error:
    sys.exit(str(error))
app.synth()
