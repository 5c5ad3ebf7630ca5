"""The screen of operations: what the daemon does and did, step by step; cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.binding import BindingType

from banger.cli.moments import age, unix_time
from banger.cli.progress import label
from banger.cli.text import clean
from banger.cli.units import format_age
from banger.client.views import OperationView, ended
from banger.tui.actions import command
from banger.tui.bars import failure_text, operation_failure, progress_text
from banger.tui.glyphs import look
from banger.tui.keys import EVERYWHERE, MOVING, SCREENS, Key, bindings
from banger.tui.listing import Cell, Column
from banger.tui.screens.list_screen import ListScreen
from banger.tui.themes import Tones

COLUMNS = (
    Column("does", "OPERATION", 22, grow=True),
    Column("status", "STATUS", 12),
    Column("age", "AGE", 7, right=True, rank=2),
    Column("took", "TOOK", 6, right=True, rank=3),
    Column("id", "ID", 12, rank=4),
)
KEYS = (
    Key("d,delete", "d", "cancel", "cancel", "cancel it, and undo what it made", changes=True),
    Key("escape", "Esc", "back", "back", "to the VMs"),
)
_PHASES = {
    "done": ("✓", "good", ""), "intent": ("▲", "busy", "begun"), "undone": ("▼", "warn", "undone"),
}  # fmt: skip


class OperationScreen(ListScreen):
    """Running operations first, then the ended ones, the latest first."""

    WHERE = "operations"
    KEYS = KEYS
    COLUMNS = COLUMNS
    EMPTY = "no operations"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(KEYS, MOVING, SCREENS, EVERYWHERE)]

    @property
    def chosen(self) -> OperationView | None:
        return self.ui.world.operations.get(self.listing.chosen)

    def identities(self) -> list[str]:
        operations = sorted(
            self.ui.world.operations.values(),
            key=lambda one: (ended(one), -unix_time(one["created_at"])),
        )
        return [one["id"] for one in operations]

    def about_chosen(self) -> RenderableType:
        return steps_text(self.chosen, self.ui.tones) if self.chosen else Text("")

    def cell(self, item: str, column: Column) -> Cell:
        operation = self.ui.world.operations.get(item)
        if operation is None:
            return "", ""
        if column.key == "status":
            status = operation["status"]
            appearance = look("starting" if status == "running" else status)
            return f"{appearance.glyph} {status}", appearance.tone
        began, end = unix_time(operation["created_at"]), unix_time(operation["ended_at"])
        texts = {
            "does": label(operation),
            "age": age(operation["created_at"], self.ui.now()),
            "took": format_age((end or self.ui.now()) - began),
            "id": operation["id"],
        }
        return texts[column.key], "" if column.key == "does" else "dim"

    def keys(self) -> Sequence[Key]:
        chosen = self.chosen
        working = [KEYS[0]] if chosen and not ended(chosen) else []
        return [*working, KEYS[1], *SCREENS[:2], *EVERYWHERE]

    def help_keys(self) -> Sequence[tuple[str, Sequence[Key]]]:
        return (("Operations", KEYS), ("Moving", MOVING), ("Everywhere", (*SCREENS, *EVERYWHERE)))

    def action_cancel(self) -> None:
        chosen = self.chosen
        if chosen is None or ended(chosen):
            self.ui.say("only an operation that runs can be cancelled")
            return
        identity = chosen["id"]
        self.ui.begin(
            lambda: self.ui.client.cancel(identity), command(("operation", "cancel"), [identity])
        )


def steps_text(operation: OperationView, tones: Tones) -> Text:
    """The steps of an operation, what it does now, and its error (pure)."""
    text = Text()
    appearance = look("starting" if operation["status"] == "running" else operation["status"])
    text.append(f"{appearance.glyph} {label(operation)}: ", tones[appearance.tone])
    text.append(f"{operation['status']}\n\n", tones[appearance.tone])
    for step in operation["steps"]:
        glyph, tone, word = _PHASES.get(step["phase"], ("?", "dim", step["phase"]))
        text.append(f"{glyph} ", tones[tone])
        text.append(f"{clean(step['title'])}")
        text.append(f"  {word}" if word else "", tones["dim"]).append("\n")
    if not ended(operation):
        text.append("\n").append_text(progress_text(operation, tones)).append("\n")
    failed = operation_failure(operation)
    if failed is not None:
        error, log = failed
        text.append("\n").append_text(failure_text(error, tones, log)).append("\n")
        if error.details:
            text.append("\n" + "\n".join(clean(line) for line in error.details.splitlines()))
    elif operation["log"]:
        text.append(f"\nlog: {operation['log']}", tones["dim"])
    return text
