"""What draws line by line: it scrolls, and its style is worked out once for all lines."""

from __future__ import annotations

from rich.style import Style
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip


class Lines(ScrollView, can_focus=True):
    """``base`` is the style of the widget itself while ``render_line`` is asked for lines."""

    base = Style()

    def render_lines(self, crop: Region) -> list[Strip]:
        # Textual works it out from all ancestors whenever it is asked for.
        self.base = self.rich_style
        return super().render_lines(crop)
