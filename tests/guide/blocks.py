"""Reads the command blocks of a page, with the comment that says where a test runs each.

A block is fenced with ``sh``. Without a comment it runs on this host, in the order of the page, in
one shell. ``<!-- in the lab -->`` before it: on the lab host, as an ordinary user with sudo.
``<!-- typed: KEYS -->``: on a terminal of its own, and a reader would type these keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs/guide.md"
_BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*) -->\n)?```sh\n(?P<script>.*?)^```$", re.MULTILINE | re.DOTALL
)
_TYPED = "typed: "
_LAB = "in the lab"


@dataclass(frozen=True, slots=True)
class Block:
    """Some command lines of a page."""

    line: int
    script: str
    lab: bool = False
    keys: str | None = None


def read(page: Path = GUIDE) -> list[Block]:
    """All blocks of a page in order; raises ``ValueError`` for a comment that says nothing."""
    text = page.read_text(encoding="utf-8")
    return [_block(text, found) for found in _BLOCK.finditer(text)]


def _block(text: str, found: re.Match[str]) -> Block:
    note, script = found["note"] or "", found["script"]
    line = text.count("\n", 0, found.start("script")) + 1
    if note.startswith(_TYPED):
        return Block(line, script, keys=note.removeprefix(_TYPED).encode().decode("unicode_escape"))
    if note not in {"", _LAB}:
        raise ValueError(f"{page_line(line)}: {note!r} does not say where the block runs")
    return Block(line, script, lab=note == _LAB)


def page_line(line: int) -> str:
    """How a failure names its place."""
    return f"docs/guide.md:{line}"
