"""How the screen looks, as SVG pictures: sizes, themes, tabs, forms, errors, odd content.

``UPDATE_GOLDEN=1`` draws them anew; look at them before they are committed.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from banger.errors import HostNotReady
from banger.tui.world import Lost
from tests.fakes.golden import assert_golden
from tests.fakes.screen_home import ScreenHome, Shown
from tests.fakes.screen_scenes import CONSOLE, SCENES
from tests.fakes.svg import self_contained

SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (180, 50)


class Picture(NamedTuple):
    """``keys`` are pressed one after the other on the VM ``at``; then ``until`` is there."""

    name: str
    keys: tuple[str, ...] = ()
    at: str = ""
    scene: str = "household"
    size: tuple[int, int] = MIDDLE
    theme: str = "dark"
    until: str = ""
    read_only: bool = False
    looks: int = 3


PICTURES = [
    Picture("main", at="web"),
    Picture("main-small", at="web", size=SMALL),
    Picture("main-large", at="web", size=LARGE),
    Picture("main-tiny", at="web", size=(60, 16)),
    Picture("light", at="web", theme="light"),
    Picture("light-small", at="ci-runner", size=SMALL, theme="light"),
    Picture("contrast", at="web", theme="contrast"),
    Picture("contrast-small", at="web-2", size=SMALL, theme="contrast"),
    Picture("empty", scene="empty"),
    Picture("empty-small", scene="empty", size=SMALL),
    Picture("crowd", scene="crowd", keys=("pagedown",), size=MIDDLE),
    Picture("crowd-end", scene="crowd", keys=("G",), size=SMALL),
    Picture("strange", scene="strange"),
    Picture("strange-small", scene="strange", size=SMALL),
    Picture("broken", at="web-2"),
    Picture("panic", at="batch"),
    Picture("nearly-full", at="ci-runner", keys=("5",)),
    Picture("logs", at="web", keys=("2",), until="login"),
    Picture("console", at="web", keys=("3",), until="login"),
    Picture("network", at="web", keys=("4",)),
    Picture("network-small", at="web", keys=("4",), size=SMALL),
    Picture("disk", at="db", keys=("5",)),
    Picture("events", at="web", keys=("6",), scene="busy"),
    Picture("marked", keys=("space", "space", "j", "space")),
    Picture("filtered", keys=("slash", "w", "e", "b", "enter")),
    Picture("filtered-none", keys=("slash", "q", "q", "q", "enter"), size=SMALL),
    Picture("by-cpu", keys=("o", "o")),
    Picture("zoomed", at="web", keys=("plus", "4"), size=SMALL),
    Picture("list-alone", keys=("plus", "plus"), size=SMALL),
    Picture("busy", at="build", scene="busy"),
    Picture("create", keys=("n",)),
    Picture("create-small", keys=("n",), size=SMALL),
    Picture("create-wrong", keys=("n", "tab", "tab", "9", "9", "9")),
    Picture("edit-locked", at="web", keys=("e",)),
    Picture("edit", at="cache", keys=("e",)),
    Picture("forward", at="web", keys=("f",), theme="light"),
    Picture("confirm", at="cache", keys=("d",)),
    Picture("confirm-typed", at="web", keys=("d",), theme="contrast"),
    Picture("palette", keys=("colon", "n", "a", "t", "space"), until="Let VMs reach"),
    Picture("help", keys=("question_mark",)),
    Picture("help-small", keys=("question_mark",), size=SMALL, theme="light"),
    Picture("images", keys=("I",), scene="busy"),
    Picture("images-small", keys=("I", "j"), size=SMALL),
    Picture("operations", keys=("O",), scene="busy"),
    Picture("operations-failed", keys=("O", "j", "j"), scene="busy", size=SMALL),
    Picture("read-only", at="web", read_only=True),
]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
async def test_picture(home: ScreenHome, picture: Picture) -> None:
    SCENES[picture.scene](home.fake)
    home.fake.logs = CONSOLE
    async with home.run(
        picture.size, picture.looks, theme=picture.theme, read_only=picture.read_only
    ) as shown:
        if picture.at:
            await shown.goes_to(picture.at)
        for key in picture.keys:
            await shown.press(key)
        if picture.until:
            await shown.until(lambda: picture.until in shown.text())
        assert_picture(shown, picture.name)


async def test_picture_of_a_failed_operation(home: ScreenHome) -> None:
    SCENES["household"](home.fake)
    home.fake.failures["vm.start"] = {
        "code": "vmm_failed", "brief": "cache could not be started",
        "cause": "the host has 210 MiB of memory left, and 1 GiB is needed",
        "resolution": "banger vm set cache --memory 128M",
    }  # fmt: skip
    async with home.run(looks=3) as shown:
        await shown.goes_to("cache")
        await shown.press("s")
        await shown.until(lambda: "try:" in shown.text())
        assert_picture(shown, "failed")


async def test_picture_of_a_lost_daemon(home: ScreenHome) -> None:
    SCENES["household"](home.fake)
    async with home.run((80, 24), looks=3) as shown:
        home.server.end()
        await shown.until(lambda: not shown.app.world.live)
        # Which error it is depends on the moment, and each further try may bring another.
        shown.app.stop_reading()
        error = HostNotReady(
            "bangerd is not running",
            cause="nobody listens on its socket",
            resolution="banger daemon start",
        )
        shown.app.receive(Lost(error))
        await shown.settle()
        assert_picture(shown, "lost")


def assert_picture(shown: Shown, name: str) -> None:
    """The screen is what the picture shows."""
    picture = shown.app.export_screenshot(title="banger tui")
    assert_golden(f"tui/{name}.svg", self_contained(picture))
