"""The screen of images: what there is, who uses it; build, rebuild, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import RenderableType
from textual.binding import BindingType

from banger.cli.moments import age
from banger.cli.units import format_size
from banger.client.views import ImageView
from banger.tui.actions import Act, Danger, command
from banger.tui.bars import progress_text
from banger.tui.glyphs import look
from banger.tui.keys import EVERYWHERE, MOVING, SCREENS, Key, bindings
from banger.tui.listing import Cell, Column
from banger.tui.screens.confirm import ConfirmScreen
from banger.tui.screens.list_screen import ListScreen
from banger.tui.tabs.page import Page
from banger.tui.themes import Tones
from banger.tui.vm_rows import short_size
from banger.tui.world import World

COLUMNS = (
    Column("name", "NAME", 14, grow=True),
    Column("state", "STATE", 10),
    Column("suite", "SUITE", 10, rank=2),
    Column("used", "ON DISK", 7, right=True, rank=1),
    Column("vms", "VMS", 4, right=True),
    Column("age", "AGE", 6, right=True, rank=3),
)
KEYS = (
    Key("b", "b", "build", "build", "build an image", changes=True),
    Key("r", "r", "rebuild", "rebuild", "build it anew from today's packages", changes=True),
    Key("m", "m", "import", "import", "make an image of an archive", changes=True),
    Key("c", "c", "customize", "customize", "change a copy by hand, as root in it", changes=True),
    Key("e", "e", "rename", "rename", "give another name", changes=True),
    Key("n", "n", "new VM", "new", "make a VM of it", changes=True),
    Key("d", "d", "delete", "delete", "delete it; one that VMs use is refused", changes=True),
    Key("escape", "Esc", "back", "back", "to the VMs"),
)


class ImageScreen(ListScreen):
    """All images, and everything about the one under the cursor."""

    WHERE = "images"
    KEYS = KEYS
    COLUMNS = COLUMNS
    EMPTY = "no images yet: b builds one"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS, MOVING, SCREENS, EVERYWHERE)]

    @property
    def chosen(self) -> ImageView | None:
        return self.ui.world.images.get(self.listing.chosen)

    def identities(self) -> list[str]:
        images = sorted(self.ui.world.images.values(), key=lambda image: image["name"])
        return [image["id"] for image in images]

    def about_chosen(self) -> RenderableType:
        chosen, ui = self.chosen, self.ui
        return image_page(ui.world, chosen, ui.tones, ui.now()) if chosen else Page(ui.tones)

    def cell(self, item: str, column: Column) -> Cell:
        image = self.ui.world.images.get(item)
        if image is None:
            return "", ""
        if column.key == "state":
            appearance = look(image["state"])
            return f"{appearance.glyph} {image['state']}", appearance.tone
        texts = {
            "name": image["name"],
            "suite": image["suite"] or "-",
            "used": short_size(image["allocated_bytes"]),
            "vms": str(len(image["used_by"])),
            "age": age(image["created_at"], self.ui.now()),
        }
        return texts[column.key], "" if column.key == "name" else "dim"

    def keys(self) -> Sequence[Key]:
        needing = ("rebuild", "new", "delete", "customize", "rename")
        shown = [key for key in KEYS if self.chosen or key.action not in needing]
        return [*shown, SCREENS[0], SCREENS[2], *EVERYWHERE]

    def help_keys(self) -> Sequence[tuple[str, Sequence[Key]]]:
        return (("Images", KEYS), ("Moving", MOVING), ("Everywhere", (*SCREENS, *EVERYWHERE)))

    def action_build(self) -> None:
        self.ui.open_build()

    def action_import(self) -> None:
        self.ui.open_import()

    def action_customize(self) -> None:
        if self.chosen:
            self.ui.open_customize(self.chosen)

    def action_rename(self) -> None:
        if self.chosen:
            self.ui.open_rename_image(self.chosen)

    def action_new(self) -> None:
        self.ui.open_create(self.chosen["name"] if self.chosen else "")

    def action_rebuild(self) -> None:
        image = self.chosen
        if image is not None:
            name = image["name"]
            self.ui.begin(
                lambda: self.ui.client.build_image({"name": name, "rebuild": True}),
                command(("image", "build", "--rebuild"), [name]),
            )

    def action_delete(self) -> None:
        image = self.chosen
        if image is None:
            return
        name, shown = image["name"], command(("image", "rm"), [image["name"]])
        act = Act(
            "delete", "delete image", ("image", "rm"), (),
            lambda client, _vm: client.delete_image(name), Danger.ASK, "its file is deleted",
        )  # fmt: skip

        def answered(yes: bool | None) -> None:  # noqa: FBT001 - the screen's result
            if yes:
                self.ui.begin(lambda: self.ui.client.delete_image(name), shown)

        self.ui.push_screen(ConfirmScreen(act, [name], Danger.ASK, shown), answered)


def image_page(world: World, image: ImageView, tones: Tones, now: float) -> Page:
    """Everything about ``image`` (pure)."""
    page = Page(tones)
    appearance = look(image["state"])
    page.row("name", image["name"])
    page.row("state", f"{appearance.glyph} {image['state']}", appearance.tone)
    operation = world.of_target(image["id"])
    if operation is not None:
        page.drawn("does", progress_text(operation, tones))
    page.row("used by", ", ".join(image["used_by"]) or "no VM", "" if image["used_by"] else "dim")
    page.row("suite", image["suite"])
    page.row("kernel", image["kernel_version"])
    page.row("size", format_size(image["size_bytes"]))
    page.row("on disk", format_size(image["allocated_bytes"]))
    if image["drift"]:
        page.row("drift", "! the package list has changed since: r builds it anew", "warn")
    page.row("created", f"{age(image['created_at'], now)} ago")
    page.row("rootfs", image["rootfs_sha256"][:32])
    page.row("id", image["id"])
    page.row("files", image["directory"])
    return page
