"""Every key that does something to VMs: what is asked, what is sent, which command is shown."""

from __future__ import annotations

from typing import Any

import pytest

from banger.tui.screens.confirm import ConfirmScreen
from tests.fakes.screen_home import ScreenHome, Shown
from tests.fakes.screen_scenes import household


def posted(home: ScreenHome, name: str, action: str) -> list[Any]:
    return home.sent("POST", f"/v1/vms/{home.vm(name)['id']}/{action}")


async def begun(shown: Shown, command: str) -> None:
    """Wait until an operation has ended well and its command is shown."""
    await shown.until(lambda: shown.app.said.startswith("✓"))
    assert shown.app.command == command
    assert f"$ {command}" in shown.text()


@pytest.mark.parametrize(
    ("name", "key", "action", "body", "command"),
    [
        ("cache", "s", "start", {}, "banger start cache"),
        ("web", "s", "stop", {}, "banger stop web"),
        ("web", "r", "restart", {}, "banger restart web"),
        ("web", "p", "pause", {}, "banger vm pause web"),
        ("ci-runner", "p", "resume", {}, "banger vm resume ci-runner"),
        ("web", "a", "nat", {"up": False}, "banger nat down web"),
        ("db", "a", "nat", {"up": True}, "banger nat up db"),
    ],
)
async def test_a_key_does_it_at_once(
    home: ScreenHome, name: str, key: str, action: str, body: object, command: str
) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.goes_to(name)
        await shown.press(key)
        await begun(shown, command)
        assert posted(home, name, action) == [body]


async def test_kill_and_delete_of_one_ask_for_one_key(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.goes_to("web")
        await shown.press("K")
        assert isinstance(shown.app.screen, ConfirmScreen)
        assert "unsaved data" in shown.text()
        await shown.press("n")
        assert shown.app.said == "nothing was changed"
        assert shown.app.command == ""
        await shown.press("K", "y")
        await begun(shown, "banger kill web")
        await shown.goes_to("cache")
        await shown.press("d", "escape")
        assert home.sent("DELETE", "/v1/vms") == []
        await shown.press("d", "y")
        await begun(shown, "banger rm cache")
        assert [vm["name"] for vm in home.fake.vms.values() if vm["name"] == "cache"] == []


async def test_the_delete_of_a_running_vm_asks_for_its_name(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.goes_to("web")
        await shown.press("d")
        await shown.type("yes")
        await shown.press("enter")
        assert isinstance(shown.app.screen, ConfirmScreen)
        await shown.type("web")
        await shown.press("enter")
        await begun(shown, "banger rm --force web")
        assert next(p for m, p, _ in home.fake.requests if m == "DELETE").endswith("force=true")


async def test_marked_vms_are_acted_on_together_where_it_is_legal(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.press("asterisk")
        await shown.goes_to("web")
        await shown.press("s")
        await begun(shown, "banger stop ci-runner db web")
        states = {name: home.vm(name)["state"] for name in ("web", "db", "ci-runner", "build")}
        assert states == {
            "web": "stopped", "db": "stopped", "ci-runner": "stopped", "build": "starting",
        }  # fmt: skip
        await shown.press("escape")
        assert not shown.screen.listing.marked


async def test_several_are_deleted_after_the_word_yes(home: ScreenHome) -> None:
    for name in ("one", "two", "three"):
        home.fake.add_vm(name)
    async with home.run() as shown:
        await shown.press("space", "space", "d")
        assert "2 VMs" in shown.text()
        await shown.press("y")
        assert len(home.fake.vms) == 3
        await shown.type("es")
        await shown.press("enter")
        await shown.until(lambda: len(home.fake.vms) == 1)
        assert home.vm("two")


async def test_what_is_not_possible_says_why(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.goes_to("cache")
        for key in ("p", "K"):
            await shown.press(key)
            assert "is stopped" in shown.app.said
        await shown.goes_to("build")
        await shown.press("s")
        assert shown.app.said == "this is not possible: build is starting"
        assert home.sent("POST", "/v1/vms") == []


async def test_a_failed_operation_shows_its_three_lines_and_its_log(home: ScreenHome) -> None:
    home.fake.add_vm("web")
    home.fake.failures["vm.start"] = {
        "code": "vmm_failed", "brief": "web did not start", "cause": "no memory",
        "resolution": "banger vm set web --memory 128M",
    }  # fmt: skip
    async with home.run((80, 24)) as shown:
        await shown.press("s")
        await shown.until(lambda: "try:" in shown.text())
        text = shown.text()
        for line in (
            "error: web did not start",
            "cause: no memory",
            "try: banger vm set web --memory 128M",
            "log: /state/operations/x.log",
        ):
            assert line in " ".join(text.split())
        await shown.press("y")
        assert "banger vm set web --memory 128M" in shown.app.clipboard
        await shown.press("escape")
        assert "error:" not in shown.text()


async def test_a_refused_request_is_shown_too(home: ScreenHome) -> None:
    vm = home.fake.add_vm("web")
    async with home.run() as shown:
        # It was started elsewhere, and the event is still on its way.
        vm["state"] = "running"
        await shown.press("s")
        await shown.until(lambda: "error:" in shown.text())
        assert "VM 'web' is running" in shown.text()


@pytest.mark.parametrize(("key", "words"), [("S", ["ssh", "web"]), ("c", ["console", "web"])])
async def test_the_terminal_is_handed_over(
    home: ScreenHome, monkeypatch: pytest.MonkeyPatch, key: str, words: list[str]
) -> None:
    household(home.fake)
    given: list[list[str]] = []

    def run(words: list[str]) -> int:
        given.append(words)
        return 0

    monkeypatch.setattr("banger.client.child.run_in_terminal", run)
    async with home.run() as shown:
        monkeypatch.setattr(shown.app, "suspend", _Nothing)
        await shown.goes_to("web")
        await shown.press(key)
        assert given == [words]
        assert shown.app.said.startswith(f"banger {words[0]} web ended with status 0")


class _Nothing:
    """Stands for the time in which another program has the terminal."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


async def test_y_copies_the_last_command(home: ScreenHome) -> None:
    home.fake.add_vm("web")
    async with home.run() as shown:
        await shown.press("s")
        await begun(shown, "banger start web")
        await shown.press("y")
        assert shown.app.clipboard == "banger start web"


async def test_read_only_changes_nothing(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run(read_only=True) as shown:
        await shown.goes_to("web")
        for key in "srpKdScneRCiaf":
            await shown.press(key)
            assert shown.app.screen is shown.screen
        await shown.press("I", "b", "r", "d", "n", "m", "c", "e", "escape", "O", "d", "escape")
        await shown.press("colon")
        await shown.type("rm -f web")
        await shown.press("enter")
        assert "read-only" in shown.app.said
        assert {method for method, _, _ in home.fake.requests} == {"GET"}
        assert "read-only" in shown.text()
        assert " stop " not in shown.text()
