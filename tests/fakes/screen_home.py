"""The TUI without a terminal, against a fake daemon, at a moment that stands still."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from banger.cli.moments import unix_time
from banger.client.client import BangerClient
from banger.tui.app import BangerTUI
from banger.tui.screens.base import WorldScreen
from banger.tui.world import Figures
from tests.fakes.daemon import JSON, FakeDaemon
from tests.fakes.daemon_server import Server

#: What the clock of the screen shows.
NOW = unix_time("2026-01-02T05:06:07Z")
#: Seconds until something that is waited for must have happened.
PATIENCE = 10.0


class ScreenHome:
    """A fake daemon with its socket; ``run`` shows it."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="bgr-tui-"))
        self.fake = FakeDaemon(self.root / "d.sock")
        self.fake.events_live = True
        self.server = Server(self.fake)

    @asynccontextmanager
    async def run(
        self, size: tuple[int, int] = (120, 40), looks: int = 0, **options: Any
    ) -> AsyncIterator[Shown]:
        """The app, live, after ``looks`` at the figures of its VMs (their thread is still)."""
        app = BangerTUI(
            BangerClient(str(self.fake.socket_path)), now=lambda: NOW, figures=False, **options
        )
        async with app.run_test(size=size) as pilot:
            shown = Shown(app, pilot)
            await shown.until(lambda: app.world.live)
            for _ in range(looks):
                app.receive(Figures(await asyncio.to_thread(app.client.all_stats)))
            await shown.settle()
            yield shown

    def sent(self, method: str, path: str) -> list[Any]:
        """The bodies of the requests of ``method`` whose path begins with ``path``."""
        return [b for m, p, b in self.fake.requests if m == method and p.startswith(path)]

    def vm(self, name: str) -> JSON:
        return next(vm for vm in self.fake.vms.values() if vm["name"] == name)

    def close(self) -> None:
        self.fake.events_live = False
        self.server.end()
        shutil.rmtree(self.root)


class Shown:
    """One run of the app."""

    def __init__(self, app: BangerTUI, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Press the keys, and wait until what they begin at once is done."""
        await self.pilot.press(*keys)
        await self.settle()

    async def type(self, text: str) -> None:
        await self.press(*("minus" if char == "-" else "space" if char == " " else char
                           for char in text))  # fmt: skip

    async def settle(self) -> None:
        """Wait until all messages are handled and the news are drawn."""
        await self.pilot.pause()
        self.app.draw()
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Wait for ``condition``, at most ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            await self.pilot.pause(0.01)
        await self.settle()

    async def goes_to(self, name: str) -> None:
        """Put the cursor on the VM of this name."""
        listing = self.screen.listing
        world = self.app.world
        listing.move_to([world.vms[one]["name"] for one in listing.items].index(name))
        await self.settle()

    @property
    def screen(self) -> WorldScreen:
        screen = self.app.screen
        assert isinstance(screen, WorldScreen), screen
        return screen

    def text(self) -> str:
        """What is on the screen, line by line."""
        width, height = self.app.size
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(line.text.rstrip()[:width] for line in lines[:height])
