"""The lines at the top and the bottom: totals, what happens now, the last failure, the keys."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.widget import Widget

from banger.cli.progress import label
from banger.cli.text import clean, shorten, width
from banger.client.follow import failure
from banger.client.views import OperationView, ended
from banger.errors import BangerError
from banger.tui.glyphs import bar, look
from banger.tui.keys import Key
from banger.tui.themes import Tones
from banger.tui.vm_rows import short_size
from banger.tui.world import Totals, World, totals


class Line(Widget):
    """A widget of one text that is drawn again without a new layout."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self.text = Text()

    def show(self, text: Text) -> None:
        if text != self.text:
            self.text = text
            self.refresh()

    def render(self) -> Text:
        return self.text


def header(world: World, tones: Tones, where: str, columns: int, *, read_only: bool) -> Text:
    """``where``, the sums over all VMs and whether the daemon is heard."""
    sums = totals(world)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(" banger ", tones["title"])
    text.append(f"{where} ", tones["dim"])
    if read_only:
        text.append("read-only ", tones["warn"])
    for part, tone in _totals(sums, wide=columns >= 100):
        text.append(part, tones[tone])
    link, tone = ("● live", "good") if world.live else ("✗ no bangerd", "bad")
    if not world.live and world.lost is None:
        link, tone = "… connecting", "busy"
    blanks = columns - text.cell_len - width(link) - 1
    if blanks < 1:
        text.truncate(max(0, columns - width(link) - 2), overflow="ellipsis")
        blanks = 1
    text.append(" " * blanks)
    text.append(link, tones[tone])
    return text


def _totals(sums: Totals, *, wide: bool) -> list[tuple[str, str]]:
    cores = os.cpu_count() or 1
    parts = [
        (f"│ {sums.vms} VM{'' if sums.vms == 1 else 's'} ", ""),
        (f"● {sums.running} ", "good"),
        (f"✗ {sums.failed} " if sums.failed else "", "bad"),
        (f"│ CPU {sums.cpu:.1f}/{cores} ", ""),
        (f"│ memory {short_size(sums.memory_used)}", ""),
        (f" of {short_size(sums.memory_given)} given" if wide else "", "dim"),
        (f" │ disk {short_size(sums.overlay_used)} ", ""),
    ]
    return [(part, tone) for part, tone in parts if part]


def progress_text(operation: OperationView, tones: Tones) -> Text:
    """One line about an operation that runs."""
    appearance = look("starting" if operation["status"] == "running" else operation["status"])
    text = Text(f"{appearance.glyph} {label(operation)}", tones[appearance.tone])
    title = operation["steps"][-1]["title"] if operation["steps"] else ""
    progress = operation["progress"]
    if progress and progress["title"]:
        title = progress["title"]
    if title:
        text.append(f": {clean(title)}", tones[""])
    if progress and progress["fraction"] is not None:
        text.append(f" {bar(progress['fraction'], 12)} {progress['fraction']:.0%}", tones["busy"])
    if progress and progress["detail"]:
        text.append(f" {clean(progress['detail'])}", tones["dim"])
    return text


def status(
    running: Sequence[OperationView], said: str, shown_command: str, tones: Tones, columns: int
) -> Text:
    """What goes on, or what was last said; and the command that does the same, to the right."""
    if running:
        text = progress_text(running[-1], tones)
        if len(running) > 1:
            text.append(f"  +{len(running) - 1} more", tones["dim"])
    else:
        text = Text(said)
    right = f"$ {shown_command}" if shown_command else ""
    right = shorten(right, columns // 2)
    text.truncate(max(0, columns - width(right) - 3), overflow="ellipsis")
    line = Text(" ", no_wrap=True) + text
    if right:
        line.append(" " * max(1, columns - 1 - line.cell_len - width(right)))
        line.append(right, tones["key"])
    return line


def failure_text(error: BangerError, tones: Tones, log: str = "") -> Text:
    """The three lines of an error, and where its log is."""
    text = Text()
    text.append("✗ error: ", tones["bad"]).append(clean(error.brief.replace("\n", "; ")))
    for title, content in (("cause", error.cause), ("try", error.resolution), ("log", log)):
        if content:
            text.append(f"\n  {title}:".ljust(10), tones["title"])
            text.append(clean("; ".join(content.splitlines())))
    return text


def operation_failure(operation: OperationView) -> tuple[BangerError, str] | None:
    """The error of an operation that ended badly, and the path of its log."""
    error = failure(operation) if ended(operation) else None
    return None if error is None else (error, operation.get("log") or "")


def key_lines(keys: Sequence[Key], tones: Tones, columns: int) -> Text:
    """The keys with their labels, in as many lines as they need."""
    text, used = Text(), 0
    for key in keys:
        need = width(key.shown) + 1 + width(key.label) + 2
        if used and used + need > columns:
            text.append("\n")
            used = 0
        text.append(" ")
        text.append(key.shown, tones["key"])
        text.append(f" {key.label} ", tones["dim"])
        used += need
    return text


class Keys(Widget):
    """The footer; its height follows from its keys."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._keys: Sequence[Key] = ()
        self._tones: Tones | None = None
        self.text = Text()

    def show(self, keys: Sequence[Key], tones: Tones) -> None:
        if tones is not self._tones or list(keys) != list(self._keys):
            self._keys, self._tones = list(keys), tones
            self._set()

    def _set(self) -> None:
        if self._tones is None or not self.size.width:
            return
        self.text = key_lines(self._keys, self._tones, self.size.width)
        lines = self.text.plain.count("\n") + 1
        if self.styles.height is None or self.styles.height.value != lines:
            self.styles.height = lines
        self.refresh()

    def on_resize(self, _event: events.Resize) -> None:
        self._set()

    def render(self) -> Text:
        return self.text
