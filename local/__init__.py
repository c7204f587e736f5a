"""The local cloud: a whole environment on a laptop, without an account."""

import data_prep  # noqa: F401 - says what to do where the tools are not installed
