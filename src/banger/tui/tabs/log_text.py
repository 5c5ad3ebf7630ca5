"""A console's bytes as lines: cleaned for the tab Logs, as a terminal shows them for Console."""

from __future__ import annotations

import re
from collections import deque

from rich.text import Text

from banger.cli.logs import MARK, render_line
from banger.cli.text import clean
from banger.tui.themes import Tones

#: Lines that are kept of a console.
MAX_LINES = 2000
#: What a terminal would carry out on one line: backspace, return, erase to the end.
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[()][0-9A-Za-z]|\x1b.|[\x08\r]")


class ConsoleLines:
    """Takes bytes as they come, cut anywhere; keeps the last lines."""

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque(maxlen=MAX_LINES)
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self.lines.extend(lines)
        self._rest = self._rest[-65536:]

    def all(self) -> list[bytes]:
        """The lines, the last perhaps unfinished."""
        return [*self.lines, self._rest] if self._rest else list(self.lines)

    def log(self, tones: Tones) -> Text:
        """For reading: expected noise is dimmed and marked."""
        text = Text(overflow="fold")
        for line in self.all():
            shown = render_line(line, terminal=True, colour=False).decode()
            text.append(shown + "\n", tones["dim" if shown.endswith(MARK) else ""])
        return text

    def terminal(self, rows: int) -> Text:
        """The last ``rows`` lines as they would stand on the guest's terminal."""
        lines = [typed(line) for line in self.all()[-rows:]]
        return Text("\n".join(lines), no_wrap=True, overflow="crop")


def typed(line: bytes) -> str:
    """What is left on the line when everything in it has been carried out (pure)."""
    text = line.decode(errors="replace")
    cells: list[str] = []
    column = position = 0
    for found in [*_CONTROL.finditer(text), None]:
        end = len(text) if found is None else found.start()
        for character in text[position:end]:
            if character >= " " or character == "\t":
                cells[column : column + 1] = [" " if character == "\t" else character]
                column += 1
        if found is None:
            break
        position = found.end()
        if found[0] == "\r":
            column = 0
        elif found[0] == "\x08":
            column = max(0, column - 1)
        elif found[2] == "K":
            del cells[column:]
        elif found[2] in ("H", "J"):
            cells, column = [], 0
        cells.extend(" " * (column - len(cells)))
    return clean("".join(cells).rstrip())
