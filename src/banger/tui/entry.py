"""A line to type in, whose cursor does not blink: nothing is drawn while nothing happens."""

from __future__ import annotations

from textual.widgets import Input


class Entry(Input):
    """One line high, without a border."""

    def __init__(self, value: str = "", *, placeholder: str = "", id: str) -> None:  # noqa: A002 - Textual's word
        super().__init__(value, placeholder=placeholder, id=id, compact=True)
        self.cursor_blink = False
