"""The tabs beside the list: six views of the VM under the cursor."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer

from banger.client.client import BangerClient
from banger.client.views import VMView
from banger.tui.bars import Line
from banger.tui.feed import LogFeed
from banger.tui.sheet import Sheet
from banger.tui.tabs.disk import disk
from banger.tui.tabs.happenings import happenings
from banger.tui.tabs.log_text import ConsoleLines
from banger.tui.tabs.network import network
from banger.tui.tabs.overview import overview
from banger.tui.themes import Tones
from banger.tui.world import World

TABS = ("Overview", "Logs", "Console", "Network", "Disk", "Events")
_SHORT = ("View", "Log", "Cons", "Net", "Disk", "Evt")
#: Columns from which on the names of all tabs fit.
_ROOMY = 57
#: Tabs that need the console's log, and seconds for which the cursor must rest before it is read.
_READ = ("Logs", "Console")
_REST = 0.15
#: Seconds between two drawings of a log that grows.
_REDRAW = 0.1


class Detail(Vertical):
    """``show`` draws the present tab for a VM, or for none."""

    class Tail(Message):
        """More of a console, from the thread that reads it."""

        def __init__(self, feed: LogFeed | None, piece: bytes) -> None:
            super().__init__()
            self.feed = feed
            self.piece = piece

    def __init__(self, client: BangerClient, now: Callable[[], float], id: str) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._client = client
        self._now = now
        self.tab = 0
        self._shown: tuple[str, int] = ("", -1)
        self._feed: LogFeed | None = None
        self._lines = ConsoleLines()
        self._rest: Timer | None = None
        self._redraw: Timer | None = None
        self._last: tuple[World, VMView | None, Tones] | None = None

    def compose(self) -> ComposeResult:
        yield Line(id="tabs")
        yield Sheet(id="page")

    def on_mount(self) -> None:
        # Nobody looks while another program has the terminal, and a console may say much.
        self.app.app_suspend_signal.subscribe(self, lambda _: self.stop_reading())
        self.app.app_resume_signal.subscribe(self, lambda _: self._read_again())

    def _read_again(self) -> None:
        self._shown = ("", -1)
        if self._last is not None:
            self.show(*self._last)

    @property
    def page(self) -> Sheet:
        return self.query_one("#page", Sheet)

    def choose(self, tab: int) -> None:
        """Show the tab of this number, counted round."""
        self.tab = tab % len(TABS)
        self.page.scroll_to(y=0, animate=False, immediate=True)
        if self._last is not None:
            self.show(*self._last)

    def show(self, world: World, vm: VMView | None, tones: Tones) -> None:
        """Draw the present tab as things are now."""
        self._last = (world, vm, tones)
        self._draw_tabs(tones)
        key = (vm["id"] if vm else "", self.tab)
        if key != self._shown:
            self._turn_to(key)
        if vm is None:
            self.page.show(Text(_NOTHING, tones["dim"]))
            return
        columns = self.size.width
        name = TABS[self.tab]
        if name == "Overview":
            self.page.show(overview(world, vm, tones, columns, self._now()))
        elif name == "Network":
            self.page.show(network(world, vm, tones))
        elif name == "Disk":
            self.page.show(disk(world, vm, tones, columns))
        elif name == "Events":
            self.page.show(happenings(world, vm, tones, self._now()), at_end=True)

    def _draw_tabs(self, tones: Tones) -> None:
        text = Text(no_wrap=True, overflow="ellipsis")
        wide = self.size.width >= _ROOMY
        for number, name in enumerate(TABS, 1):
            here = number - 1 == self.tab
            shown = name if wide or here else _SHORT[number - 1]
            text.append(f" {number}", tones["key"])
            style = tones["title"] + tones.cursor if here else tones["dim"]
            text.append(f" {shown} " if here else f" {shown}", style)
        self.query_one("#tabs", Line).show(text)

    # the console's log
    def _turn_to(self, key: tuple[str, int]) -> None:
        vm_id, tab = key
        before, self._shown = self._shown, key
        if TABS[tab] not in _READ or not vm_id:
            self.stop_reading()
            return
        if before[0] == vm_id and self._feed is not None:
            self._draw_log()
            return
        self.stop_reading()
        self.page.show("")
        self._rest = self.set_timer(_REST, self._read)

    def _read(self) -> None:
        vm_id, tab = self._shown
        if self._feed is None and vm_id and TABS[tab] in _READ:
            self._lines = ConsoleLines()
            feed = LogFeed(self._client, vm_id, lambda piece: self._post(feed, piece))
            self._feed = feed
            feed.start()

    def _post(self, feed: LogFeed, piece: bytes) -> None:
        self.post_message(self.Tail(feed, piece))

    def stop_reading(self) -> None:
        """End the thread that follows a console."""
        if self._rest is not None:
            self._rest.stop()
        if self._feed is not None:
            self._feed.stop()
            self._feed = None

    def on_detail_tail(self, message: Tail) -> None:
        if message.feed is not self._feed:
            return
        self._lines.feed(message.piece)
        if self._redraw is None:
            self._redraw = self.set_timer(_REDRAW, self._draw_log)

    def _draw_log(self) -> None:
        self._redraw = None
        if self._last is None or self._feed is None:
            return
        if TABS[self.tab] == "Logs":
            self.page.show(self._lines.log(self._last[2]), at_end=True)
        elif TABS[self.tab] == "Console":
            self.page.show(self._lines.terminal(max(1, self.page.size.height)))

    def on_resize(self, _event: events.Resize) -> None:
        if self._last is not None:
            self.show(*self._last)

    def on_unmount(self) -> None:
        self.stop_reading()


_NOTHING = "no VM is chosen\n\n n makes one\n : runs any command\n ? explains the keys"
