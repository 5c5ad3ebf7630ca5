"""What a command of the palette prints, as it comes; Esc ends it, or closes when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from banger.cli.text import clean
from banger.client.child import CapturedCommand
from banger.errors import BangerError
from banger.tui.actions import command
from banger.tui.sheet import Sheet
from banger.tui.tabs.log_text import ConsoleLines
from banger.tui.themes import Tones

#: Percent of the screen's width that the output takes, as in ``banger.tcss``.
WIDTH = 96


class OutputScreen(ModalScreen[None]):
    """Runs ``banger WORDS`` and shows what it prints."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "close", "close", show=False),
        Binding("down,j", "scroll(1)", "down", show=False),
        Binding("up,k", "scroll(-1)", "up", show=False),
        Binding("pagedown,space", "scroll(10)", "page down", show=False),
        Binding("pageup", "scroll(-10)", "page up", show=False),
    ]

    class Printed(Message):
        """Output, from the thread that reads it."""

        def __init__(self, piece: bytes) -> None:
            super().__init__()
            self.piece = piece

    def __init__(self, words: Sequence[str], tones: Tones) -> None:
        super().__init__()
        self._words = words
        self._tones = tones
        self._lines = ConsoleLines()
        self._alive = True
        self._command = CapturedCommand(words, lambda piece: self._post(piece))

    def _post(self, piece: bytes) -> None:
        self.post_message(self.Printed(piece))

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="output"):
            yield Static(Text(f"$ {command(self._words)}", self._tones["key"]))
            yield Sheet(id="printed")
            yield Static(Text("▲ running; Esc ends it", self._tones["busy"]), id="ended")

    def on_mount(self) -> None:
        self.query_one(Sheet).focus()
        self.run_worker(self._run(), exclusive=False)

    async def _run(self) -> None:
        columns = max(40, self.app.size.width * WIDTH // 100 - 4)
        try:
            status = await asyncio.to_thread(self._command.run, columns)
            text, tone = f"ended with status {status}; Esc closes", "bad" if status else "good"
        except BangerError as error:
            text, tone = f"✗ {error.brief}: {error.cause}", "bad"
        self._alive = False
        if self.is_mounted:
            self.query_one("#ended", Static).update(Text(text, self._tones[tone]))

    def on_output_screen_printed(self, message: Printed) -> None:
        self._lines.feed(message.piece)
        lines = [clean(line.decode(errors="replace")) for line in self._lines.all()]
        self.query_one(Sheet).show(Text("\n".join(lines), overflow="fold"), at_end=True)

    def action_scroll(self, lines: int) -> None:
        self.query_one(Sheet).scroll_relative(y=lines, animate=False)

    def action_close(self) -> None:
        if self._alive:
            self._command.interrupt()
        else:
            self.dismiss()

    def on_unmount(self) -> None:
        self._command.interrupt()
