"""The app: news from the daemon in, screens and actions out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen

from banger.client.client import BangerClient
from banger.client.events import ReceivedEvent
from banger.tui.feed import EventFeed, FigureFeed, Reader, read_all
from banger.tui.inbox import Inbox
from banger.tui.screens.base import WorldScreen
from banger.tui.screens.vms import VMScreen
from banger.tui.shell import Shell
from banger.tui.themes import THEMES, Tones
from banger.tui.world import News, World

#: Seconds for which news are collected before the screen is drawn again.
COALESCE = 0.03


class BangerTUI(Shell):
    """``now`` gives Unix time; without ``figures`` nobody looks at what VMs use."""

    CSS_PATH = "banger.tcss"
    ENABLE_COMMAND_PALETTE = False
    TITLE = "banger"
    BINDINGS: ClassVar[list[BindingType]] = []

    class Arrived(Message):
        """There is news; Textual lets any thread post a message."""

    def __init__(
        self,
        client: BangerClient,
        *,
        read_only: bool = False,
        theme: str = "dark",
        now: Callable[[], float] = time.time,
        figures: bool = True,
    ) -> None:
        super().__init__()
        self.client = client
        self.read_only = read_only
        self.now = now
        self.world = World()
        self._with_figures = figures
        self._feeds: list[Reader] = []
        self.inbox = Inbox()
        self._drawing = False
        for one in THEMES:
            self.register_theme(one)
        self.theme = theme
        self.tones = Tones(self.theme)

    def get_default_screen(self) -> Screen[None]:
        return VMScreen()

    def on_mount(self) -> None:
        self._feeds = [EventFeed(self.client, self.receive)]
        if self._with_figures:
            self._feeds.append(FigureFeed(self.client, self.receive, lambda: self.world.live))
        for feed in self._feeds:
            feed.start()

    def on_unmount(self) -> None:
        self.stop_reading()

    def stop_reading(self) -> None:
        """Take in nothing more from the daemon."""
        for feed in self._feeds:
            feed.stop(wait=True)

    # news
    def receive(self, news: News) -> None:
        """Take in news, from any thread. Events may raise what the client raises."""
        if self.inbox.full and isinstance(news, ReceivedEvent):
            # The stream is open all the while, so what follows is told after this.
            self.inbox.replace(read_all(self.client))
        elif self.inbox.put(news):
            self.post_message(self.Arrived())

    def on_banger_tui_arrived(self) -> None:
        for one in self.inbox.take():
            self.world.apply(one, self.now())
        self.judge_ended()
        if not self._drawing:
            self._drawing = True
            self.set_timer(COALESCE, self.draw)

    def draw(self) -> None:
        """Draw the present screen as the world is now."""
        self._drawing = False
        for screen in reversed(self.screen_stack):
            if isinstance(screen, WorldScreen):
                screen.world_changed()
                return

    def colours_changed(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, WorldScreen):
                screen.theme_changed()
