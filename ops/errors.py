"""The error of the commands of `python -m ops`."""


class OpsError(Exception):
    """When a command cannot continue; the message says what is wrong, why, and how to fix it."""
