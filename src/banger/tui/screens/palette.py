"""The command palette: a line with the grammar of the CLI, completed as the shell does."""

from __future__ import annotations

import asyncio
import shlex
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from banger.cli.text import pad
from banger.tui.entry import Entry
from banger.tui.themes import Tones

#: Completions that are listed.
LISTED = 10


def completions(text: str) -> list[tuple[str, str]]:
    """What the word at the end of ``text`` may become, with a help each; asks the daemon."""
    from click.shell_completion import ShellComplete

    from banger.cli.root import root

    try:
        words = shlex.split(text)
    except ValueError:
        return []
    incomplete = "" if not text or text.endswith(" ") else words.pop()
    if words[:1] == ["banger"]:
        del words[0]
    found = ShellComplete(root, {}, "banger", "_UNUSED").get_completions(words, incomplete)
    return [(str(item.value), item.help or "") for item in found if item.type == "plain"]


def common_start(words: list[str]) -> str:
    """The longest beginning that all ``words`` share (pure)."""
    first, last = (min(words), max(words)) if words else ("", "")
    length = next((i for i, pair in enumerate(zip(first, last, strict=False))
                   if pair[0] != pair[1]), min(len(first), len(last)))  # fmt: skip
    return first[:length]


class PaletteScreen(ModalScreen[str | None]):
    """Gives the command that was typed; ``history`` grows by it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "cancel", "close", show=False),
        Binding("tab", "complete", "complete", show=False, priority=True),
        Binding("up", "recall(-1)", "before", show=False),
        Binding("down", "recall(1)", "after", show=False),
    ]

    def __init__(self, tones: Tones, history: list[str]) -> None:
        super().__init__()
        self._tones = tones
        self._history = history
        self._recalled = len(history)
        self._found: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="palette"):
            yield Static(Text("banger …", self._tones["title"]))
            yield Entry(placeholder="a command, as on the shell", id="typed")
            yield Static(id="found")

    def on_mount(self) -> None:
        self._look_up()

    @property
    def _line(self) -> Input:
        return self.query_one("#typed", Input)

    def on_input_changed(self) -> None:
        self._look_up()

    def _look_up(self) -> None:
        self.run_worker(self._complete(self._line.value), exclusive=True)

    async def _complete(self, text: str) -> None:
        self._found = await asyncio.to_thread(completions, text)
        shown = Text(no_wrap=True, overflow="ellipsis")
        for word, explained in self._found[:LISTED]:
            shown.append(pad(word, 14) + " ", self._tones["key"])
            shown.append(explained + "\n", self._tones["dim"])
        if len(self._found) > LISTED:
            shown.append(f"and {len(self._found) - LISTED} more\n", self._tones["dim"])
        shown.append("Tab completes, Enter runs, ↑ recalls, Esc closes", self._tones["dim"])
        self.query_one("#found", Static).update(shown)

    def action_complete(self) -> None:
        words = [word for word, _ in self._found]
        if not words:
            return
        line = self._line
        before = line.value[: line.value.rfind(" ") + 1]
        start = common_start(words)
        line.value = before + start + (" " if len(words) == 1 else "")
        line.cursor_position = len(line.value)

    def action_recall(self, steps: int) -> None:
        self._recalled = max(0, min(len(self._history), self._recalled + steps))
        recalled = self._history[self._recalled :][:1]
        self._line.value = recalled[0] if recalled else ""
        self._line.cursor_position = len(self._line.value)

    def on_input_submitted(self) -> None:
        text = self._line.value.strip()
        if text and text not in self._history[-1:]:
            self._history.append(text)
        self.dismiss(text or None)

    def action_cancel(self) -> None:
        self.dismiss(None)
