"""What stops a command of ops: one line that names the input, the reason and the way out."""


class OpsError(Exception):
    """When a command cannot do what was asked."""
