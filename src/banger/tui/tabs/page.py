"""What every tab is made of: titled lines, headings and notes (pure)."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from banger.cli.text import clean
from banger.tui.themes import Tones

#: Columns of the titles.
TITLE = 9


class Page:
    """Collects lines; ``made`` is what is shown."""

    def __init__(self, tones: Tones) -> None:
        self.tones = tones
        self.made = Table.grid(padding=(0, 1))
        self.made.add_column(width=TITLE, no_wrap=True)
        self.made.add_column(overflow="fold")

    def row(self, title: str, text: str, tone: str = "") -> None:
        """A titled line; left out where there is nothing to say."""
        if text:
            self.made.add_row(Text(title, self.tones["dim"]), Text(clean(text), self.tones[tone]))

    def drawn(self, title: str, text: Text) -> None:
        """A titled line that is coloured already."""
        self.made.add_row(Text(title, self.tones["dim"]), text)

    def gap(self) -> None:
        self.made.add_row("", "")
