"""Moving about: lists, tabs, filter, order, zoom, help, palette, images and operations."""

from __future__ import annotations

import pytest

from banger.tui.detail import TABS, Detail
from banger.tui.keys import EVERYWHERE, HIDDEN_TABS, MOVING, SCREENS, VMS
from banger.tui.screens import images, operations
from banger.tui.screens.confirm import ConfirmScreen
from banger.tui.screens.help import HelpScreen
from banger.tui.screens.output import OutputScreen
from banger.tui.screens.palette import common_start
from banger.tui.screens.vms import VMScreen
from tests.fakes.screen_home import ScreenHome, Shown
from tests.fakes.screen_scenes import CONSOLE, busy, crowd, household, strange


def chosen(shown: Shown) -> str:
    screen = shown.screen
    assert isinstance(screen, VMScreen)
    return screen.chosen["name"] if screen.chosen else ""


async def test_the_cursor_moves_and_stays_on_its_vm(home: ScreenHome) -> None:
    crowd(home.fake)
    async with home.run() as shown:
        page = shown.screen.listing.page()
        for keys, name in [
            (("j",), "vm-1"), (("down", "down"), "vm-3"), (("k", "up"), "vm-1"),
            (("pagedown",), f"vm-{1 + page}"), (("ctrl+b",), "vm-1"), (("G",), "vm-999"),
            (("g",), "vm-0"), (("end",), "vm-999"), (("home",), "vm-0"),
        ]:  # fmt: skip
            await shown.press(*keys)
            assert chosen(shown) == name, keys
        await shown.press("j", "j")
        for name in ("vm-0", "a-new-one"):
            home.fake.publish("vm", {**home.vm("vm-0"), "id": f"0{name}", "name": name})
        await shown.until(lambda: len(shown.app.world.vms) == 1002)
        assert chosen(shown) == "vm-2"
        home.fake.publish("vm-deleted", home.vm("vm-2"))
        await shown.until(lambda: len(shown.app.world.vms) == 1001)
        assert chosen(shown) == "vm-3"


async def test_filter_words_and_their_contrary(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.press("slash")
        await shown.type("running")
        assert shown.screen.listing.items == [home.vm("db")["id"], home.vm("web")["id"]]
        await shown.press("space", "exclamation_mark", "d", "b", "enter")
        assert shown.screen.listing.items == [home.vm("web")["id"]]
        assert chosen(shown) == "web"
        await shown.press("escape")
        assert len(shown.screen.listing.items) == 8


async def test_orders(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run(looks=2) as shown:
        screen = shown.screen
        seen = {}
        for _ in range(7):
            seen[screen.listing.sorted_by] = [
                shown.app.world.vms[one]["name"] for one in screen.listing.items
            ]
            await shown.press("o")
        assert screen.listing.sorted_by == "name"
        assert seen["name"][0] == "batch"
        assert seen["state"][0] == "web-2"
        assert seen["overlay"][:2] == ["ci-runner", "web"]
        assert seen["created"] == sorted(seen["created"])


async def test_tabs(home: ScreenHome) -> None:
    household(home.fake)
    home.fake.logs = CONSOLE
    async with home.run() as shown:
        await shown.goes_to("web")
        detail = shown.screen.query_one(Detail)
        for number, text in enumerate(
            ["banger ssh web", "[expected]", "loading 100%", "8080 → 80/tcp", "6.9 GiB", "no event"]
        ):
            await shown.press(str(number + 1))
            assert TABS[detail.tab] == TABS[number]
            await shown.until(lambda text=text: text in shown.text())  # type: ignore[misc] # bound now
        await shown.press("right_square_bracket")
        assert detail.tab == 0
        await shown.press("left_square_bracket", "left_square_bracket")
        assert TABS[detail.tab] == "Disk"
        await shown.press("l")
        assert TABS[detail.tab] == "Logs"
        await shown.until(lambda: "x" * 30 in shown.text())
        # The console of the next one is another one.
        home.fake.logs = b"this is db\n"
        await shown.goes_to("db")
        await shown.until(lambda: "this is db" in shown.text())
        assert "x" * 30 not in shown.text()


async def test_zoom(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run((80, 24)) as shown:
        await shown.goes_to("web")
        await shown.press("plus")
        assert "VMs: web" in shown.text()
        assert "ADDRESS" not in shown.text()
        await shown.press("plus")
        assert "ADDRESS" in shown.text()
        assert "Overview" not in shown.text()
        await shown.press("4")
        assert "Network" in shown.text()
        await shown.press("enter")
        assert "ADDRESS" not in shown.text()
        await shown.press("escape")
        assert "ADDRESS" in shown.text()
        await shown.press("tab", "G")
        assert chosen(shown) == "web"


async def test_the_help_has_every_key(home: ScreenHome) -> None:
    async with home.run((120, 100)) as shown:
        await shown.press("question_mark")
        assert isinstance(shown.app.screen, HelpScreen)
        text = shown.text()
        for key in (*VMS, *HIDDEN_TABS, *MOVING, *SCREENS, *EVERYWHERE):
            assert key.help in text
        await shown.press("escape")
        assert isinstance(shown.app.screen, VMScreen)


def test_no_key_means_two_things() -> None:
    for group in (VMS + HIDDEN_TABS, images.KEYS, operations.KEYS):
        keys = [
            key for one in (*group, *MOVING, *SCREENS, *EVERYWHERE) for key in one.key.split(",")
        ]
        assert len(keys) == len(set(keys))
    shown = {key.shown for key in (*images.KEYS, *operations.KEYS) if len(key.shown) == 1}
    assert shown <= set("abcdefghijklmnopqrstuvwxyz")


async def test_themes(home: ScreenHome) -> None:
    async with home.run() as shown:
        seen = []
        for _ in range(3):
            seen.append(shown.app.theme)
            await shown.press("T")
        assert seen == ["dark", "light", "contrast"]
        assert shown.app.theme == "dark"


async def test_images(home: ScreenHome) -> None:
    busy(home.fake)
    async with home.run() as shown:
        await shown.press("I")
        text = shown.text()
        assert "used by" in text
        assert "web, db" in text
        assert "42%" in text
        await shown.press("j", "r")
        await shown.until(lambda: home.sent("POST", "/v1/images"))
        assert home.sent("POST", "/v1/images") == [{"name": "docker", "rebuild": True}]
        await shown.press("d")
        assert isinstance(shown.app.screen, ConfirmScreen)
        await shown.press("y")
        await shown.until(lambda: len(shown.app.world.images) == 1)
        await shown.press("V")
        assert isinstance(shown.app.screen, VMScreen)


async def test_an_image_that_vms_use_is_refused(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.press("I", "d", "y")
        await shown.until(lambda: "error:" in shown.text())
        assert "is in use" in shown.text()


async def test_an_operation_is_followed_and_cancelled(home: ScreenHome) -> None:
    busy(home.fake)
    async with home.run() as shown:
        await shown.press("O")
        text = shown.text()
        assert "▲ running" in text
        assert "✓ make room" in text
        await shown.press("j")
        assert "install packages" in shown.text()
        await shown.press("d")
        await shown.until(lambda: "○ cancelled" in shown.text())
        assert shown.app.command.startswith("banger operation cancel 0b")
        (failed,) = (k for k, one in home.fake.operations.items() if one["status"] == "failed")
        shown.screen.listing.move_to(shown.screen.listing.items.index(failed))
        await shown.settle()
        assert "web could not be restarted" in shown.text()
        await shown.press("escape")
        assert isinstance(shown.app.screen, VMScreen)


async def test_progress_is_shown_as_it_comes(home: ScreenHome) -> None:
    vm = home.fake.add_vm("web")
    home.fake.endless = {"vm.start"}
    async with home.run() as shown:
        await shown.press("s")
        await shown.until(lambda: "▲ start web: wait for SSH" in shown.text())
        (operation,) = home.fake.operations
        home.fake.publish("log", {"operation_id": operation, "title": "copy the kernel",
                                  "fraction": 0.5, "detail": "12 MiB"})  # fmt: skip
        await shown.until(lambda: "copy the kernel ██████░░░░░░ 50% 12 MiB" in shown.text())
        home.fake.cancel(home.fake.operations[operation])
        await shown.until(lambda: "○ start web cancelled" in shown.text())
        assert vm["state"] == "stopped"


async def test_the_palette_completes_and_runs_the_commands_of_the_cli(
    home: ScreenHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.fake.add_vm("web")
    ran: list[list[str]] = []

    class Captured:
        def __init__(self, words: list[str], on_output: object) -> None:
            ran.append(words)
            self._print = on_output

        def run(self, columns: int) -> int:
            assert columns > 40
            self._print(b"stopped \x1b[31mweb\n")  # type: ignore[operator] # a function
            return 3

        def interrupt(self) -> None:
            pass

    monkeypatch.setattr("banger.tui.screens.output.CapturedCommand", Captured)
    async with home.run() as shown:
        await shown.press("colon")
        await shown.type("nat s")
        await shown.until(lambda: "Show which VMs reach it." in shown.text())
        await shown.press("tab")
        await shown.until(lambda: "nat status" in shown.text())
        await shown.press("enter")
        await shown.until(lambda: "ended with status 3" in shown.text())
        assert isinstance(shown.app.screen, OutputScreen)
        assert ran == [["nat", "status"]]
        assert "$ banger nat status" in shown.text()
        await shown.press("escape", "colon", "up")
        assert "nat status" in shown.text()


@pytest.mark.parametrize(
    ("text", "said"),
    [("ls '", "✗ No closing quotation"), ("tui", "✗ this is banger tui"), ("banger", "")],
)
async def test_what_the_palette_refuses(home: ScreenHome, text: str, said: str) -> None:
    async with home.run() as shown:
        shown.app.run_command(text)
        assert shown.app.said == said
        assert isinstance(shown.app.screen, VMScreen)


def test_what_completions_share() -> None:
    assert common_start(["start", "stats", "status"]) == "sta"
    assert common_start(["one"]) == "one"
    assert common_start(["a", "b"]) == ""
    assert common_start([]) == ""


async def test_text_of_a_guest_moves_nothing(home: ScreenHome) -> None:
    strange(home.fake)
    async with home.run() as shown:
        await shown.goes_to("moves")
        assert "\x1b" not in shown.text()
        assert "漢字" in shown.text()


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 5), (250, 70)])
async def test_any_size_of_terminal(home: ScreenHome, size: tuple[int, int]) -> None:
    household(home.fake)
    async with home.run(size, looks=2) as shown:
        for key in ("j", "2", "4", "plus", "n", "escape", "I", "O", "question_mark", "escape", "V"):
            await shown.press(key)
        assert shown.text()


async def test_the_mouse(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.pilot.click("#vms", offset=(5, 5))
        assert chosen(shown) == "db"
        await shown.pilot.click("#vms", offset=(5, 1), times=2)
        await shown.settle()
        assert "VMs: batch" in shown.text()
