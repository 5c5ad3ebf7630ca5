"""The forms: checked as one types, and what they send."""

from __future__ import annotations

import pytest

from banger.tui.screens.form import FormScreen
from tests.fakes.screen_home import ScreenHome, Shown
from tests.fakes.screen_scenes import household


def form(shown: Shown) -> FormScreen:
    screen = shown.app.screen
    assert isinstance(screen, FormScreen)
    return screen


async def fill(shown: Shown, key: str, text: str) -> None:
    """Type over what the field holds."""
    form(shown).query_one(f"#field-{key}").focus()
    await shown.settle()
    await shown.press("end", "ctrl+u")
    await shown.type(text)


async def test_a_vm_is_made_and_started(home: ScreenHome) -> None:
    home.fake.add_image()
    async with home.run() as shown:
        await shown.press("n")
        assert form(shown).texts()["name"] == "calm-otter"
        await fill(shown, "name", "web")
        await fill(shown, "vcpus", "4")
        await fill(shown, "memory_mib", "512M")
        await fill(shown, "work_disk_bytes", "16G")
        form(shown).query_one("#field-nat").focus()
        await shown.press("space")
        text = " ".join(line.strip("│ ") for line in shown.text().splitlines())
        assert "$ banger run --name web --image debian --vcpu 4 --memory 512M" in text
        assert "--disk-size 16G --network auto --nat" in text
        await shown.press("enter")
        await shown.until(lambda: "● running" in shown.text())
    (body,) = home.sent("POST", "/v1/vms")[:1]
    assert body == {
        "name": "web", "image": "debian", "vcpus": 4, "memory_mib": 512,
        "overlay_bytes": 8 << 30, "work_disk_bytes": 16 << 30, "network": "auto", "nat": True,
    }  # fmt: skip
    assert home.vm("web")["state"] == "running"


async def test_a_vm_is_made_without_a_start(home: ScreenHome) -> None:
    home.fake.add_image()
    async with home.run() as shown:
        await shown.press("n")
        form(shown).query_one("#field-start").focus()
        await shown.press("left")
        assert "$ banger create --name calm-otter" in shown.text()
        await shown.press("ctrl+s")
        await shown.until(lambda: "○ stopped" in shown.text())


async def test_a_missing_image_is_built_first(home: ScreenHome) -> None:
    async with home.run() as shown:
        await shown.press("n")
        assert "it is built first" in shown.text()
        await shown.press("enter")
        await shown.until(lambda: "● running" in shown.text())
        assert home.sent("POST", "/v1/images") == [{"name": "debian"}]


async def test_a_failed_creation_is_not_started(home: ScreenHome) -> None:
    home.fake.add_image()
    home.fake.failures["vm.create"] = {"code": "failed", "brief": "no room", "cause": "disk full",
                                       "resolution": "banger system prune"}  # fmt: skip
    async with home.run() as shown:
        await shown.press("n", "enter")
        await shown.until(lambda: "error: no room" in shown.text())
        assert [p for m, p, _ in home.fake.requests if m == "POST"] == ["/v1/vms"]


@pytest.mark.parametrize(
    ("key", "text", "fault"),
    [
        ("name", "Web!", "a name has 1 to 64"),
        ("name", "cache", "it is taken"),
        ("name", "", "it is needed"),
        ("vcpus", "17", "1 to 16 virtual CPUs"),
        ("memory_mib", "1", "64 to 32768 MiB"),
        ("memory_mib", "lots", "a size is a number"),
        ("overlay_bytes", "1M", "a disk has 64 MiB"),
        ("work_disk_bytes", "9000T", "a disk has 64 MiB"),
    ],
)
async def test_a_fault_is_shown_as_one_types(
    home: ScreenHome, key: str, text: str, fault: str
) -> None:
    household(home.fake)
    async with home.run((160, 40)) as shown:
        await shown.press("n")
        await fill(shown, key, text)
        assert "✗ " in shown.text()
        assert fault in shown.text()
        await shown.press("enter")
        assert form(shown).focused is form(shown).query_one(f"#field-{key}")
        await shown.press("escape")
        assert home.sent("POST", "/v1/vms") == []


async def test_a_stopped_vm_is_changed(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.goes_to("cache")
        await shown.press("e")
        assert "no change" in shown.text()
        await fill(shown, "memory_mib", "2G")
        assert "$ banger vm set cache --memory 2G" in shown.text()
        await shown.press("enter")
        await shown.until(lambda: shown.app.said == "✓ change cache")
        assert home.vm("cache")["memory_mib"] == 2048


async def test_marked_vms_are_changed_together(home: ScreenHome) -> None:
    for name in ("one", "two", "three"):
        home.fake.add_vm(name)
    async with home.run() as shown:
        await shown.press("space", "space", "e")
        assert "Change 2 VMs" in shown.text()
        await shown.press("enter")
        assert shown.app.said == "nothing was changed"
        await shown.press("e")
        await fill(shown, "vcpus", "4")
        assert "$ banger vm set one three --vcpu 4" in shown.text()
        await shown.press("enter")
        await shown.until(lambda: home.vm("one")["vcpus"] == home.vm("three")["vcpus"] == 4)
        assert home.vm("two")["vcpus"] == 2
        assert home.vm("one")["memory_mib"] == 1024


async def test_a_running_vm_says_why_a_field_is_locked(home: ScreenHome) -> None:
    household(home.fake)
    async with home.run() as shown:
        await shown.goes_to("web")
        await shown.press("e")
        text = shown.text()
        assert text.count("locked: it is running") == 3
        assert form(shown).focused is form(shown).query_one("#field-overlay_bytes")


@pytest.mark.parametrize(
    ("key", "command", "method", "path"),
    [
        ("R", "banger rename cache new", "PATCH", ""),
        ("C", "banger vm clone cache new", "POST", "/clone"),
    ],
)
async def test_a_new_name(home: ScreenHome, key: str, command: str, method: str, path: str) -> None:
    household(home.fake)
    identity = home.vm("cache")["id"]
    async with home.run() as shown:
        await shown.goes_to("cache")
        await shown.press(key)
        await fill(shown, "name", "new")
        assert f"$ {command}" in shown.text()
        await shown.press("enter")
        await shown.until(lambda: shown.app.said.startswith("✓"))
        assert home.sent(method, f"/v1/vms/{identity}{path}") == [{"name": "new"}]
        assert home.vm("new")


async def test_a_port_is_published_and_taken_back(home: ScreenHome) -> None:
    home.fake.add_vm("web", state="running")
    async with home.run() as shown:
        await shown.press("f")
        await shown.type("8080")
        assert "✗ it has the form" in shown.text()
        await fill(shown, "port", "8080:80")
        assert "$ banger vm forward web 8080:80" in shown.text()
        await shown.press("enter")
        await shown.until(lambda: home.vm("web")["forwards"])
        await shown.until(lambda: shown.app.said.startswith("✓"))
        await shown.press("f")
        await fill(shown, "port", "8080:80")
        assert "$ banger vm forward web --rm 8080:80" in shown.text()
        await shown.press("enter")
        await shown.until(lambda: not home.vm("web")["forwards"])


async def test_an_image_is_built(home: ScreenHome) -> None:
    async with home.run() as shown:
        await shown.press("I", "b")
        await fill(shown, "name", "small")
        await fill(shown, "size_bytes", "4G")
        assert "$ banger image build small --size 4G --suite bookworm" in shown.text()
        await shown.press("enter")
        await shown.until(lambda: "small" in shown.text() and shown.app.said.startswith("✓"))
        (body,) = home.sent("POST", "/v1/images")
        assert body == {"name": "small", "size_bytes": 4 << 30, "suite": "bookworm",
                        "rebuild": False}  # fmt: skip


async def test_an_archive_is_imported(home: ScreenHome) -> None:
    home.fake.add_image()
    archive = home.root / "alpine.tar"
    archive.write_bytes(b"x")
    async with home.run((160, 40)) as shown:
        await shown.press("I", "m")
        await fill(shown, "archive", str(home.root / "missing"))
        assert "✗ No such file" in shown.text()
        await fill(shown, "archive", str(archive))
        await fill(shown, "name", "debian")
        assert "✗ it is taken" in shown.text()
        await fill(shown, "name", "alpine")
        await shown.press("enter")
        await shown.until(lambda: shown.app.said.startswith("✓"))
        assert shown.app.command == f"banger image import {archive} --name alpine --size 8G"
        assert home.sent("POST", "/v1/images:import") == [
            {"archive": str(archive), "name": "alpine", "size_bytes": 8 << 30}
        ]


async def test_an_image_is_renamed(home: ScreenHome) -> None:
    image = home.fake.add_image("small")
    async with home.run() as shown:
        await shown.press("I", "e")
        await fill(shown, "name", "tiny")
        await shown.press("enter")
        await shown.until(lambda: shown.app.said.startswith("✓"))
        assert shown.app.command == "banger image rename small tiny"
        assert home.sent("PATCH", f"/v1/images/{image['id']}") == [{"name": "tiny"}]


async def test_a_copy_of_an_image_is_changed_by_hand(
    home: ScreenHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.fake.add_image()
    async with home.run() as shown:
        given: list[list[str]] = []
        monkeypatch.setattr(shown.app, "hand_over", given.append)
        await shown.press("I", "c")
        await fill(shown, "name", "tools")
        await shown.press("tab", "space", "enter")
        assert given == [["image", "interactive", "debian", "--out", "tools", "--nat"]]


async def test_a_stopped_vm_becomes_an_image(home: ScreenHome) -> None:
    vm = home.fake.add_vm("web")
    async with home.run() as shown:
        await shown.press("i", "enter")
        await shown.until(lambda: shown.app.said.startswith("✓"))
        assert shown.app.command == "banger image keep web web-image"
        assert home.sent("POST", "/v1/images:keep") == [{"vm": vm["id"], "name": "web-image"}]
