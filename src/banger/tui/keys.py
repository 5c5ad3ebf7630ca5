"""The keys of each screen: what the footer and the help show, and what Textual is to bind."""

from __future__ import annotations

from typing import NamedTuple

from textual.binding import Binding


class Key(NamedTuple):
    """``key`` as Textual names it, ``shown`` as people do. ``changes``: not when read-only."""

    key: str
    shown: str
    label: str
    action: str
    help: str
    changes: bool = False


MOVING = (
    Key("up,k", "↑ k", "", "move(-1)", "one up"),
    Key("down,j", "↓ j", "", "move(1)", "one down"),
    Key("pageup,ctrl+b", "PgUp", "", "move_page(-1)", "a page up"),
    Key("pagedown,ctrl+f", "PgDn", "", "move_page(1)", "a page down"),
    Key("home,g", "g", "", "move_end(-1)", "to the first"),
    Key("end,G", "G", "", "move_end(1)", "to the last"),
)
SCREENS = (
    Key("V", "V", "VMs", "go('vms')", "the screen of VMs"),
    Key("I", "I", "images", "go('images')", "the screen of images"),
    Key("O", "O", "operations", "go('operations')", "the screen of operations"),
)
EVERYWHERE = (
    Key("colon", ":", "command", "palette", "type any command of banger"),
    Key("question_mark,f1", "?", "help", "help", "this help"),
    Key("T", "T", "theme", "next_theme", "dark, light or high contrast"),
    Key("y", "y", "copy", "copy", "copy the last command, or the error that is shown"),
    Key("q,ctrl+c", "q", "quit", "quit", "leave; VMs go on"),
)
VMS = (
    Key("s", "s", "start", "power", "start or stop", changes=True),
    Key("r", "r", "restart", "restart", "stop and start again", changes=True),
    Key("p", "p", "pause", "pause", "pause or let go on", changes=True),
    Key("K", "K", "kill", "kill", "end at once, as pulling the plug", changes=True),
    Key("d", "d", "delete", "delete", "delete with all disks", changes=True),
    Key("S", "S", "ssh", "ssh", "a shell in the guest, on the whole terminal", changes=True),
    Key("c", "c", "console", "console", "the serial console; Ctrl-] leaves it", changes=True),
    Key("l", "l", "", "tab(2)", "the console's log"),
    Key("n", "n", "new", "new", "make a VM", changes=True),
    Key("e", "e", "edit", "edit", "change CPUs, memory and disks", changes=True),
    Key("R", "R", "rename", "rename", "give another name", changes=True),
    Key("C", "C", "clone", "clone", "copy with its disks", changes=True),
    Key("i", "i", "image", "keep", "make an image of it", changes=True),
    Key("a", "a", "NAT", "nat", "internet access on or off", changes=True),
    Key("f", "f", "forward", "forward", "publish a port, or take it back", changes=True),
    Key("space", "Space *", "mark", "mark", "mark; actions are done to all marked ones"),
    Key("asterisk", "*", "", "mark_all", "mark all that are shown, or none"),
    Key("slash", "/", "filter", "filter", "show only what has these words; !word must not be"),
    Key("o", "o", "sort", "sort", "sort by the next column"),
    Key("1", "1-6", "tabs", "tab(1)", "overview, logs, console, network, disk, events"),
    Key("tab", "Tab", "focus", "app.focus_next", "between list and tabs"),
    Key("plus", "+", "zoom", "zoom", "list and tabs, tabs alone, list alone"),
)
HIDDEN_TABS = (
    *(Key(str(number), "", "", f"tab({number})", "") for number in range(2, 7)),
    Key("left_square_bracket,left", "[ ←", "", "tab_by(-1)", "the tab before"),
    Key("right_square_bracket,right", "] →", "", "tab_by(1)", "the next tab"),
    Key("enter", "Enter", "", "zoom_in", "the tabs alone"),
    Key("escape", "Esc", "", "back", "close the error, the filter, the marks or the zoom"),
)


def bindings(*groups: tuple[Key, ...]) -> list[Binding]:
    """What Textual is to bind."""
    return [
        Binding(key.key, key.action, key.label or key.help, show=False)
        for group in groups
        for key in group
    ]
