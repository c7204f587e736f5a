"""The local cloud: a complete environment on a laptop, without an AWS account."""

import data_prep  # noqa: F401 - says what to do where the tools are not installed
