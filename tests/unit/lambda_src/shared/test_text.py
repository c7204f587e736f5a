import pytest

from lambda_src.shared.text import shortened


@pytest.mark.parametrize(("text", "shown"), [("", ""), ("12345", "12345"), ("123456", "1234…")])
def test_truncated_text_ends_in_an_ellipsis(text: str, shown: str) -> None:
    assert shortened(text, 5) == shown
