"""What every tab is made of: titled lines, headings and notes (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from banger.cli.text import clean, pad, shorten
from banger.tui.themes import Tones

#: Columns of the titles.
TITLE = 9


class Page:
    """Collects lines; it is what Rich can draw itself.

    A table of Rich does the same, but takes most of the time in which the screen is drawn again.
    """

    def __init__(self, tones: Tones) -> None:
        self.tones = tones
        self._rows: list[tuple[str, Text]] = []

    def row(self, title: str, text: str, tone: str = "") -> None:
        """A titled line; left out where there is nothing to say."""
        if text:
            self._rows.append((title, Text(clean(text), self.tones[tone])))

    def drawn(self, title: str, text: Text) -> None:
        """A titled line that is coloured already."""
        self._rows.append((title, text))

    def gap(self) -> None:
        self._rows.append(("", Text()))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        columns = max(1, options.max_width - TITLE - 1)
        for title, text in self._rows:
            shown = pad(shorten(title, TITLE), TITLE + 1)
            for line in text.wrap(console, columns, overflow="fold") or (Text(),):
                yield Segment(shown, self.tones["dim"])
                yield from line.render(console)
                yield Segment.line()
                shown = " " * (TITLE + 1)
