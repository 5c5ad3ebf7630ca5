"""A page of text that scrolls, drawn again without laying the screen out anew."""

from __future__ import annotations

from rich.console import RenderableType
from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.strip import Strip

from banger.tui.lines import Lines


class Sheet(Lines):
    """Shows one renderable; ``show`` replaces it and keeps the place."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._content: RenderableType = ""
        self._lines: list[list[Segment]] = []

    def show(self, content: RenderableType, *, at_end: bool = False) -> None:
        """Show ``content``; ``at_end`` scrolls to its last line if the end was in sight."""
        was_at_end = self.scroll_y >= self.max_scroll_y - 1
        self._content = content
        self._typeset()
        if at_end and was_at_end:
            self.scroll_end(animate=False, immediate=True)

    def _typeset(self) -> None:
        width = self.scrollable_content_region.width or self.size.width
        if width <= 0:
            return
        console = self.app.console
        options = console.options.update(width=width, height=None, highlight=False)
        before = self._lines
        self._lines = console.render_lines(self._content, options, pad=False, new_lines=False)
        size = Size(width, len(self._lines))
        if size != self.virtual_size:
            self.virtual_size = size
            self.refresh()
            return
        for number, (old, new) in enumerate(zip(before, self._lines, strict=False)):
            if old != new:
                self.refresh_line(number)

    def on_resize(self, _event: events.Resize) -> None:
        self._typeset()

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.base
        index = round(self.scroll_y) + y
        if index >= len(self._lines):
            return Strip.blank(width, base)
        line = Strip(self._lines[index]).apply_style(base)
        return line.adjust_cell_length(width, base).crop(0, width)
