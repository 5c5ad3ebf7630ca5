"""Attributes of our widgets do not hide Textual's own: that ends in screens that hang."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

from textual.app import App
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.scroll_view import ScrollView

import banger.tui

FOLDER = Path(next(iter(banger.tui.__path__)))
#: What a subclass is meant to define.
MEANT = {
    "compose", "render", "render_line", "render_lines", "check_action", "virtual_size",
    "get_default_screen", "theme", "watch_has_focus",
}  # fmt: skip


def own_names(path: Path) -> dict[str, set[str]]:
    """Class -> the methods it defines, and the attributes that it sets on itself."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            names = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
            names |= {
                inner.attr
                for inner in ast.walk(node)
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
                if isinstance(inner.value, ast.Name) and inner.value.id == "self"
            }
            handlers = ("__", "on_", "action_")
            found[node.name] = {one for one in names if not one.startswith(handlers)} - MEANT
    return found


def test_nothing_of_textual_is_hidden() -> None:
    instances = (App[None](), Screen[None](), ScrollView())
    hidden = []
    for path in FOLDER.rglob("*.py"):
        module = "banger.tui." + ".".join(path.relative_to(FOLDER).with_suffix("").parts)
        for name, own in own_names(path).items():
            kind = getattr(importlib.import_module(module), name, None)
            if isinstance(kind, type) and issubclass(kind, MessagePump):
                base = next((i for i in instances if issubclass(kind, type(i))), instances[-1])
                taken = set(dir(base)) | set(vars(base))
                hidden += [f"{name}.{one}" for one in own & taken]
    assert not hidden
