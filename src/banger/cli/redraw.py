"""Draws lines on a terminal again and again in the same place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

#: Control sequences of ECMA-48: to the begin of the line N above, and erase to the end of the
#: line or of the screen.
_UP, _LINE_END, _SCREEN_END = "\x1b[{}F", "\x1b[K", "\x1b[J"
_LINES = 24


class Redrawn:
    """A block of lines that stands at the end of what a terminal shows."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Put ``lines`` in the place of those drawn before; what does not fit is counted."""
        room = max(2, self._height() - 1)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"... and {len(lines) - room + 1} more"]
        text = _UP.format(self._drawn) if self._drawn else ""
        text += "".join(f"{line}{_LINE_END}\n" for line in lines) + _SCREEN_END
        self._stream.write(text)
        self._stream.flush()
        self._drawn = len(lines)

    def _height(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).lines or _LINES
        except (OSError, ValueError):
            return _LINES
