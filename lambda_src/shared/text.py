"""Shortens text that a message quotes."""


def shortened(text: str, longest: int) -> str:
    """The first `longest` characters of the text, of which the last is an ellipsis if any were cut off."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
