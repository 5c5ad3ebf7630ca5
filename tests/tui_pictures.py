"""``python -m tests.tui_pictures [FOLDER]``: pictures for docs/tui.md, of the real app on real VMs.

It needs what builds an image and boots a guest, and takes a minute or two.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from banger.client.client import BangerClient
from banger.tui.app import BangerTUI
from tests.fakes.screen_home import Shown
from tests.fakes.svg import self_contained
from tests.plugins.built_image import ensure_built
from tests.plugins.home import Home

#: Short, because pictures show paths; and the same every time.
ROOT = Path("/tmp/demo")
#: Seconds in which figures become curves, and within which anything else is on the screen.
WATCHED, PATIENCE = 25.0, 60.0


class Scene(NamedTuple):
    """One picture: keys on the VM ``at``, until ``text`` is there."""

    name: str
    size: tuple[int, int]
    theme: str
    at: str
    keys: tuple[str, ...]
    text: str


SCENES = [
    Scene("main", (120, 30), "dark", "web", (), "● running"),
    Scene("logs", (120, 30), "light", "web", ("l",), "[expected]"),
    Scene("network", (120, 24), "dark", "web", ("4",), "8080"),
    Scene("create", (100, 28), "dark", "db", ("n",), "$ banger run"),
    Scene("images", (100, 24), "light", "web", ("I",), "used by"),
    Scene("operations", (100, 24), "dark", "web", ("O",), "start web"),
    Scene("failure", (100, 24), "contrast", "web", ("I", "d", "y"), "try:"),
]


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")
    folder.mkdir(parents=True, exist_ok=True)
    ROOT.mkdir(mode=0o700)
    home = Home(ROOT)
    try:
        ensure_built().give_to(home.paths)
        furnish(home)
        os.environ.update(home.environment)
        asyncio.run(draw(home, folder))
    finally:
        home.clear()


def furnish(home: Home) -> None:
    """VMs that run, are paused and are stopped."""
    home.ok("run", "--name", "web", "--memory", "256M", "--vcpu", "1", "--nat")
    home.ok("run", "--name", "db", "--memory", "384M", "--disk-size", "2G")
    home.ok("vm", "forward", "web", "8080:80")
    home.ok("create", "--name", "ci-runner", "--memory", "2G")
    home.ok("vm", "pause", "db")
    work = "while :; do head -c 30M /dev/urandom >/root/data; sleep 3; done"
    home.ok("exec", "web", "--", "sh", "-c", f"nohup sh -c '{work}' >/dev/null 2>&1 &")


async def draw(home: Home, folder: Path) -> None:
    """One run of the app for all pictures, so that its curves have a past."""
    app = BangerTUI(BangerClient(str(home.paths.socket)))
    async with app.run_test(size=SCENES[0].size) as pilot:
        shown = Shown(app, pilot)
        await shown.until(lambda: app.world.live)
        began = time.monotonic()
        await shown.until(lambda: time.monotonic() - began > WATCHED, patience=PATIENCE)
        for scene in SCENES:
            while app.theme != scene.theme:
                app.next_theme()
            await pilot.resize_terminal(*scene.size)
            await shown.press("V")
            await shown.goes_to(scene.at)
            await shown.press("1", *scene.keys)
            await shown.until(_has(shown, scene.text), patience=PATIENCE)
            picture = app.export_screenshot(title=f"banger tui: {scene.name}")
            (folder / f"{scene.name}.svg").write_text(self_contained(picture))
            await shown.press("escape", "escape")


def _has(shown: Shown, text: str) -> Callable[[], bool]:
    return lambda: text in shown.text()


if __name__ == "__main__":
    main()
