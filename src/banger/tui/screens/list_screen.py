"""What the screens of images and of operations share: a list, and all about one item of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import RenderableType
from textual.app import ComposeResult
from textual.containers import Container

from banger.tui.listing import Cell, Column, Listing
from banger.tui.screens.base import WorldScreen
from banger.tui.sheet import Sheet

#: From how many columns on the two stand side by side.
_WIDE = 100


class ListScreen(WorldScreen):
    """A list on the left or above, and one sheet."""

    COLUMNS: ClassVar[Sequence[Column]]
    #: What is shown where the list would be empty.
    EMPTY = ""

    def identities(self) -> list[str]:
        """The ids of all that is listed, in order."""
        raise NotImplementedError

    def cell(self, item: str, column: Column) -> Cell:
        """What stands in one cell."""
        raise NotImplementedError

    def about_chosen(self) -> RenderableType:
        """Everything about what is under the cursor; nothing if that is nothing."""
        raise NotImplementedError

    def compose_body(self) -> ComposeResult:
        with Container(id="body"):
            yield Listing(self.COLUMNS, self._cell, empty=self.EMPTY, id="left")
            yield Sheet(id="detail")

    def draw_body(self) -> None:
        self.listing.show(self.identities())
        self._draw_detail()

    def _cell(self, item: str, column: Column, _width: int) -> Cell:
        return self.cell(item, column)

    def _draw_detail(self) -> None:
        self.query_one("#detail", Sheet).show(self.about_chosen())

    def on_resize(self) -> None:
        self.query_one("#body").set_class(self.size.width >= _WIDE, "wide")

    def on_listing_moved(self) -> None:
        self._draw_detail()
        self.draw_bars()
