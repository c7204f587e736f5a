"""Text of others in a message."""


def shortened(text: str, longest: int) -> str:
    """At most `longest` characters: where the rest is cut, the last of them is an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
