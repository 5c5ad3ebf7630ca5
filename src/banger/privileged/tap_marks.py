"""What stands under the name of a TAP, and whether it carries the mark that it should."""

from __future__ import annotations

from pathlib import Path

from banger.privileged import kernel_files
from banger.privileged.calls import CallFailed, TapFacts

_NET = Path("/sys/class/net")


def facts(name: str) -> TapFacts:
    """What stands under the name now, read from the kernel."""
    try:
        folder = f"{_NET}/{name}"
        index = int(kernel_files.value(f"{folder}/ifindex"))
        return TapFacts(name, index, kernel_files.value(f"{folder}/ifalias"))
    except FileNotFoundError:
        return TapFacts(name, 0, "")


def own(name: str, alias: str) -> TapFacts:
    """The same; raises ``CallFailed`` (foreign) for an interface with another mark or none."""
    found = facts(name)
    if found.index and found.alias != alias:
        mark = f"carries the mark {found.alias!r}" if found.alias else "carries no mark"
        raise CallFailed("foreign", f"the interface {found.name} exists and {mark}")
    return found
