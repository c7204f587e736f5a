"""After deploy: review, operate and watch an environment."""

import data_prep  # noqa: F401 - says what to do where the tools are not installed
