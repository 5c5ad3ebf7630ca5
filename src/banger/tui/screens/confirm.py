"""Asks before something that cannot be taken back: one key, or a word to be typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from banger.tui.actions import Act, Danger
from banger.tui.entry import Entry

#: Names that are listed; of more only the number.
_LISTED = 6


class ConfirmScreen(ModalScreen[bool]):
    """True if the person agreed. One VM is confirmed by its name, several by ``yes``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "answer(False)", "no", show=False),
        Binding("y", "one_key(True)", "yes", show=False),
        Binding("n", "one_key(False)", "no", show=False),
    ]

    def __init__(self, act: Act, names: Sequence[str], danger: Danger, shown: str) -> None:
        super().__init__()
        self._act = act
        self._names = names
        self._danger = danger
        self._shown = shown

    @property
    def word(self) -> str:
        """What must be typed; empty where a key is enough."""
        if self._danger is not Danger.TYPE:
            return ""
        return self._names[0] if len(self._names) == 1 else "yes"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog danger"):
            yield Static(self._question())
            if self.word:
                yield Entry(placeholder=self.word, id="word")

    def _question(self) -> Text:
        names, act = self._names, self._act
        text = Text()
        what = names[0] if len(names) == 1 else f"{len(names)} VMs"
        text.append(f"! {act.title} {what}?\n", "bold")
        if len(names) > 1:
            rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            text.append(f"  {', '.join(names[:_LISTED])}{rest}\n")
        if act.loss:
            text.append(f"  {act.loss}\n")
        text.append(f"\n  $ {self._shown}\n\n", "dim")
        if self.word:
            text.append("Type ").append(self.word, "bold").append(" and Enter to go on; Esc: no")
        else:
            text.append("y", "bold").append(": yes   ").append("n", "bold").append(" or Esc: no")
        return text

    def action_answer(self, agreed: bool) -> None:  # noqa: FBT001 - from a binding
        self.dismiss(agreed)

    def action_one_key(self, agreed: bool) -> None:  # noqa: FBT001 - from a binding
        if not self.word:
            self.dismiss(agreed)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip() == self.word:
            self.dismiss(True)
        else:
            event.input.value = ""
