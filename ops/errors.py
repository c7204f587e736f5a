"""What a command of `python -m ops` says when it cannot go on."""


class OpsError(Exception):
    """When a command cannot do what was asked; the message says what, why and how to fix it."""
