"""States, bars and curves as characters, each with the name of its colour (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Look(NamedTuple):
    """How a state is shown; ``tone`` is a name that the theme gives a colour."""

    glyph: str
    tone: str


STATES = {
    "running": Look("●", "good"),
    "paused": Look("‖", "warn"),
    "stopped": Look("○", "dim"),
    "failed": Look("✗", "bad"),
    "creating": Look("+", "busy"),
    "starting": Look("▲", "busy"),
    "stopping": Look("▼", "busy"),
    "deleting": Look("-", "busy"),
    # of images
    "ready": Look("●", "good"),
    "building": Look("+", "busy"),
    # of operations
    "succeeded": Look("✓", "good"),
    "cancelled": Look("○", "warn"),
    "undoing": Look("▼", "busy"),
}
_UNKNOWN = Look("?", "dim")
_CURVE = "▁▂▃▄▅▆▇█"
#: Shares of an overlay from which on it is shown as filling and as nearly full.
FILLING, NEARLY_FULL = 0.8, 0.95


def look(state: str) -> Look:
    """How ``state`` of a VM, an image or an operation is shown."""
    return STATES.get(state, _UNKNOWN)


def curve(values: Sequence[float], width: int, top: float) -> str:
    """The last ``width`` values as a line of blocks, ``top`` being a full one."""
    shown = list(values)[-width:]
    steps = len(_CURVE) - 1
    line = "".join(
        _CURVE[max(0, min(steps, round(value / top * steps)))] if top > 0 else _CURVE[0]
        for value in shown
    )
    return line.rjust(width)


def bar(fraction: float, width: int) -> str:
    """A bar of ``width`` columns, full where done."""
    full = round(max(0.0, min(1.0, fraction)) * width)
    return "█" * full + "░" * (width - full)


def fill_tone(fraction: float) -> str:
    """The tone of something that is ``fraction`` full and must not become full."""
    if fraction >= NEARLY_FULL:
        return "bad"
    return "warn" if fraction >= FILLING else ""
