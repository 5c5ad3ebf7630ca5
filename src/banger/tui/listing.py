"""A list of any length that draws only the lines one sees, with a cursor and marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from banger.cli.text import pad, shorten
from banger.tui.lines import Lines
from banger.tui.themes import Tones


class Column(NamedTuple):
    """``width`` columns; one with ``grow`` takes what is left. The highest ``rank`` goes first
    where there is no room."""

    key: str
    title: str
    width: int
    grow: bool = False
    right: bool = False
    rank: int = 0


#: The text of one cell in at most that many columns, and its tone.
Cell = tuple[str, str]
MARK = "▌"
GAP = 1


def fit(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that fit into ``width`` and how wide each one is (pure)."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.width + GAP for column in kept) > width:
        highest = max(column.rank for column in kept)
        if highest == 0:
            break
        # Of equal ones the last.
        index = max(i for i, column in enumerate(kept) if column.rank == highest)
        del kept[index]
    left = max(0, width - sum(column.width + GAP for column in kept))
    growing = [column for column in kept if column.grow]
    fitted = []
    for column in kept:
        extra = 0
        if column.grow:
            extra = left // len(growing)
            if column is growing[0]:
                extra += left % len(growing)
        fitted.append((column, column.width + extra))
    return fitted


class Listing(Lines, inherit_bindings=False):
    """``cell(id, column, width)`` gives the texts; ids stand for the objects."""

    class Moved(Message):
        """The cursor stands on another object, or on none."""

        def __init__(self, listing: Listing, chosen: str) -> None:
            super().__init__()
            self.listing = listing
            self.chosen = chosen

    class Opened(Message):
        """Enter or a second click on an object."""

        def __init__(self, listing: Listing, chosen: str) -> None:
            super().__init__()
            self.listing = listing
            self.chosen = chosen

    def __init__(
        self,
        columns: Sequence[Column],
        cell: Callable[[str, Column, int], Cell],
        *,
        empty: str = "nothing here",
        id: str | None = None,  # noqa: A002 - Textual's word
    ) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._cell = cell
        self.empty = empty
        self.items: list[str] = []
        self.index = 0
        self.marked: set[str] = set()
        self.sorted_by = ""
        self._tones: Tones | None = None
        self._fitted: list[tuple[Column, int]] = []

    # what is shown
    @property
    def chosen(self) -> str:
        """The object under the cursor, or ""."""
        return self.items[self.index] if self.items else ""

    def show(self, items: Sequence[str]) -> None:
        """Show these objects; the cursor stays on its own where that is still there."""
        before = self.chosen
        if items != self.items:
            self.items = list(items)
            self.marked &= set(items)
            if before in self.marked or before in items:
                self.index = self.items.index(before)
            self.index = max(0, min(self.index, len(items) - 1))
            self.virtual_size = Size(self.size.width, len(items) + 1)
            if self.chosen != before:
                self.post_message(self.Moved(self, self.chosen))
            self._keep_in_sight()
        self.refresh()

    def use_tones(self, tones: Tones) -> None:
        """Draw in these colours."""
        self._tones = tones
        self.refresh()

    # moving
    def move_to(self, index: int) -> None:
        """Put the cursor on the object of this position, or the nearest there is."""
        index = max(0, min(index, len(self.items) - 1))
        if index != self.index:
            self.index = index
            self._keep_in_sight()
            self.refresh()
            self.post_message(self.Moved(self, self.chosen))

    def move(self, steps: int) -> None:
        self.move_to(self.index + steps)

    def page(self) -> int:
        """Objects that are in sight at once."""
        return max(1, self.size.height - 1)

    def toggle_mark(self) -> None:
        """Mark the object under the cursor or not, and go on to the next."""
        if self.items:
            self.marked ^= {self.chosen}
            self.move(1)
            self.refresh()

    def _keep_in_sight(self) -> None:
        first, height = round(self.scroll_y), self.page()
        if self.index < first:
            self.scroll_to(y=self.index, animate=False, immediate=True)
        elif self.index >= first + height:
            self.scroll_to(y=self.index - height + 1, animate=False, immediate=True)

    # drawing
    def on_resize(self, event: events.Resize) -> None:
        self._fitted = fit(self._columns, event.size.width - GAP)
        self.virtual_size = Size(event.size.width, len(self.items) + 1)
        self._keep_in_sight()

    def render_line(self, y: int) -> Strip:
        width, tones = self.size.width, self._tones
        if tones is None:
            return Strip.blank(width, self.base)
        if y == 0:
            return self._head(width, tones)
        index = round(self.scroll_y) + y - 1
        if not self.items and y == 2:
            text = pad(shorten(f"  {self.empty}", width), width)
            return Strip([Segment(text, self.base + tones["dim"])], width)
        if index >= len(self.items):
            return Strip.blank(width, self.base)
        return self._row(index, width, tones)

    def _head(self, width: int, tones: Tones) -> Strip:
        style = self.base + tones["dim"] + Style(bold=True)
        text = " "
        for column, columns in self._fitted:
            title = column.title + ("↓" if column.key == self.sorted_by else "")
            text += pad(shorten(title, columns), columns, right=column.right) + " " * GAP
        return Strip([Segment(pad(text[:width], width), style)], width)

    def _row(self, index: int, width: int, tones: Tones) -> Strip:
        item = self.items[index]
        base = self.base
        if index == self.index:
            base += tones.cursor if self.has_focus else tones.faint_cursor
        mark = MARK if item in self.marked else " "
        segments = [Segment(mark, base + tones["mark"])]
        used = 1
        for column, columns in self._fitted:
            text, tone = self._cell(item, column, columns)
            text = pad(shorten(text, columns), columns, right=column.right)
            segments.append(Segment(text + " " * GAP, base + tones[tone]))
            used += columns + GAP
        segments.append(Segment(" " * max(0, width - used), base))
        return Strip(segments).crop(0, width)

    def watch_has_focus(self, _has_focus: bool) -> None:  # noqa: FBT001 - Textual's signature
        super().watch_has_focus(_has_focus)
        self.refresh()

    # the mouse is optional
    def on_click(self, event: events.Click) -> None:
        index = round(self.scroll_y) + event.y - 1
        if event.y > 0 and index < len(self.items):
            if event.chain > 1:
                self.post_message(self.Opened(self, self.items[index]))
            self.move_to(index)
