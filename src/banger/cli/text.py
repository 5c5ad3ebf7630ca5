"""Makes text fit for a terminal: control characters, width, colour (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

STYLES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34",
    "cyan": "36",
}  # fmt: skip


def clean(text: str) -> str:
    """``text`` without what could move the cursor, colour or reorder the terminal's content."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\t", " "))


def paint(text: str, style: str, *, colour: bool) -> str:
    """``text`` in ``style`` if ``colour`` is wanted."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if colour and style else text


def width(text: str) -> int:
    """The columns that ``text`` takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text
    )


def shorten(text: str, columns: int) -> str:
    """``text`` cut to ``columns``, the cut marked with an ellipsis."""
    if width(text) <= columns:
        return text
    if columns < 1:
        return ""
    kept = text[: columns - 1]
    while width(kept) > columns - 1:
        kept = kept[:-1]
    return kept + "…"


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """``text`` filled with blanks to ``columns``."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def suggestions(word: str, known: Sequence[str]) -> list[str]:
    """The entries of ``known`` that ``word`` may have been meant as, best first."""
    from difflib import get_close_matches

    return get_close_matches(word, known, n=3, cutoff=0.6)
