"""A form: fields below each other, each with its limits or its fault, and the command it means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from banger.tui.entry import Entry
from banger.tui.form import Field, fault
from banger.tui.themes import Tones

Texts = dict[str, str]


class Choice(Widget, can_focus=True):
    """One of some words; space and the arrows take another."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right,l", "step(1)", "next", show=False),
        Binding("left,h", "step(-1)", "before", show=False),
        Binding("enter", "enter", "go on", show=False),
    ]

    class Changed(Message):
        """Another word was taken."""

    class Submitted(Message):
        """Enter."""

    def __init__(self, words: Sequence[str], value: str, id: str) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self.words = list(dict.fromkeys([*words, value]))
        self.value = value

    def render(self) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        for word in self.words:
            here = word == self.value
            text.append(f"[{word}]" if here else f" {word} ", "bold" if here else "dim")
        return text

    def action_step(self, steps: int) -> None:
        if not self.disabled:
            self.value = self.words[(self.words.index(self.value) + steps) % len(self.words)]
            self.refresh()
            self.post_message(self.Changed())

    def action_enter(self) -> None:
        self.post_message(self.Submitted())

    def on_click(self) -> None:
        self.action_step(1)


class FormScreen(ModalScreen[Texts | None]):
    """Gives the texts of all fields, or None. ``preview`` makes the command of the texts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "cancel", "cancel", show=False),
        Binding("ctrl+s", "submit", "go", show=False),
        Binding("down", "app.focus_next", "next", show=False),
        Binding("up", "app.focus_previous", "before", show=False),
    ]

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        preview: Callable[[Texts], str],
        tones: Tones,
    ) -> None:
        super().__init__()
        self._title = title
        self._fields = fields
        self._preview = preview
        self._tones = tones

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self._title, self._tones["title"]), classes="title")
            with VerticalScroll(id="fields", can_focus=False):
                for field in self._fields:
                    with Horizontal(classes="field"):
                        yield Static(field.title, classes="label")
                        yield self._entry(field)
                        yield Static(id=f"hint-{field.key}", classes="hint")
            yield Static(id="preview")
            yield Static(self._keys(), id="form-keys")

    def _entry(self, field: Field) -> Widget:
        entry: Widget
        if field.choices:
            entry = Choice(field.choices, field.value, f"field-{field.key}")
        else:
            entry = Entry(field.value, id=f"field-{field.key}")
        entry.disabled = bool(field.locked)
        entry.add_class("entry")
        return entry

    def _keys(self) -> Text:
        text = Text()
        for shown, label in (("Enter", "go"), ("Tab ↑ ↓", "field"), ("Space", "choice"),
                             ("Esc", "cancel")):  # fmt: skip
            text.append(f"{shown} ", self._tones["key"]).append(f"{label}  ", self._tones["dim"])
        return text

    def on_mount(self) -> None:
        self._judge()

    # values
    def texts(self) -> Texts:
        """What is typed and chosen now."""
        found: Texts = {}
        for field in self._fields:
            entry = self.query_one(f"#field-{field.key}")
            if isinstance(entry, Input | Choice):
                found[field.key] = entry.value.strip()
        return found

    def _faults(self) -> dict[str, str]:
        texts = self.texts()
        faults = {field.key: fault(field, texts[field.key]) for field in self._fields}
        return {key: wrong for key, wrong in faults.items() if wrong}

    def _judge(self) -> None:
        faults = self._faults()
        for field in self._fields:
            wrong = faults.get(field.key)
            if field.locked:
                hint = Text(f"locked: {field.locked}", self._tones["warn"])
            elif wrong:
                hint = Text(f"✗ {wrong}", self._tones["bad"])
            else:
                hint = Text(field.limits, self._tones["dim"])
            self.query_one(f"#hint-{field.key}", Static).update(hint)
        preview = "" if faults else self._preview(self.texts())
        line = "✗ not yet: see above" if faults else f"$ {preview}" if preview else "no change"
        tone = "bad" if faults else "key"
        self.query_one("#preview", Static).update(Text(line, self._tones[tone]))

    def on_input_changed(self) -> None:
        self._judge()

    def on_choice_changed(self) -> None:
        self._judge()

    def on_input_submitted(self) -> None:
        self.action_submit()

    def on_choice_submitted(self) -> None:
        self.action_submit()

    def action_submit(self) -> None:
        faults = self._faults()
        if faults:
            self.query_one(f"#field-{next(iter(faults))}").focus()
        else:
            self.dismiss(self.texts())

    def action_cancel(self) -> None:
        self.dismiss(None)
