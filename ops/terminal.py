"""Text that others wrote, such as keys, causes and captured ids, on its way to a terminal."""


def visible(text: str) -> str:
    """One line that hides nothing: line breaks, control, bidirectional and invisible characters as their codes.

    An escape sequence moves the cursor or colours what follows, and a bidirectional character changes the order in
    which a line is read. rich's own markup stays: give rich a `Text`, or `markup=False`.
    """
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
