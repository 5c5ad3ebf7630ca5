"""The help: every key of the screen below, and what the characters mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from banger.cli.text import pad
from banger.tui.glyphs import STATES
from banger.tui.keys import Key
from banger.tui.sheet import Sheet
from banger.tui.themes import Tones

_KEYS_WIDTH = 8


class HelpScreen(ModalScreen[None]):
    """Any of Esc, q and ? closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,ctrl+c", "dismiss", "close", show=False),
        Binding("down,j", "scroll(1)", "down", show=False),
        Binding("up,k", "scroll(-1)", "up", show=False),
        Binding("pagedown,space", "scroll(10)", "page down", show=False),
        Binding("pageup", "scroll(-10)", "page up", show=False),
    ]

    def __init__(self, groups: Sequence[tuple[str, Sequence[Key]]], tones: Tones) -> None:
        super().__init__()
        self._groups = groups
        self._tones = tones

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="help"):
            yield Sheet(id="help-text")

    def on_mount(self) -> None:
        sheet = self.query_one(Sheet)
        sheet.show(help_text(self._groups, self._tones))
        sheet.focus()

    def action_scroll(self, lines: int) -> None:
        self.query_one(Sheet).scroll_relative(y=lines, animate=False)


def help_text(groups: Sequence[tuple[str, Sequence[Key]]], tones: Tones) -> Text:
    """All keys by group (pure)."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for title, keys in groups:
        text.append(f"{title}\n", tones["title"])
        for key in keys:
            if key.help:
                text.append("  " + pad(key.shown, _KEYS_WIDTH), tones["key"])
                text.append(f"{key.help}\n")
        text.append("\n")
    text.append("States\n", tones["title"])
    for state, appearance in STATES.items():
        text.append(f"  {pad(appearance.glyph, _KEYS_WIDTH)}", tones[appearance.tone])
        text.append(f"{state}\n")
    text.append("\n: takes every command as the shell does, without the word banger.\n")
    text.append("Esc closes this.")
    return text
