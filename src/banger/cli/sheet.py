"""Prints one object as titles and texts, one a line."""

from __future__ import annotations

from collections.abc import Sequence

from banger.cli.session import say, terminal_width
from banger.cli.text import clean, pad


def print_sheet(rows: Sequence[tuple[str, str]]) -> None:
    """Print the rows whose text is not empty; long texts are wrapped, never cut."""
    shown = [(title, clean(text)) for title, text in rows if text]
    indent = max(len(title) for title, _ in shown) + 2
    room = max(terminal_width() - indent, 20) if terminal_width() else 0
    for title, text in shown:
        lines = wrap(text, room) if room else [text]
        say(pad(title, indent) + lines[0])
        for line in lines[1:]:
            say(" " * indent + line)


def wrap(text: str, room: int) -> list[str]:
    """``text`` in lines of at most ``room`` characters; broken at blanks only, so that what is
    longer (a digest, a path) can be copied whole."""
    lines: list[str] = []
    while len(text) > room:
        cut = text.rfind(" ", 1, room + 1)
        if cut < 1:
            cut = text.find(" ", room)
        if cut < 1:
            break
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*lines, text]
