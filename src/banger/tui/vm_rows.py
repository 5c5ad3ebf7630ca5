"""The list of VMs: its columns, the texts in them, its orders and its filter (pure)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from banger.cli.reach import reached_at
from banger.client.views import VMView
from banger.tui.glyphs import curve, fill_tone, look
from banger.tui.listing import Cell, Column
from banger.tui.world import History, Use, World

COLUMNS = (
    Column("name", "NAME", 12, grow=True),
    Column("state", "STATE", 10),
    Column("image", "IMAGE", 7, rank=4),
    Column("address", "ADDRESS", 15, rank=2),
    Column("cpu", "CPU", 10, right=True, rank=1),
    Column("memory", "MEMORY", 10, right=True, rank=3),
    Column("overlay", "DISK", 4, right=True, rank=1),
)
ORDERS = ("name", "state", "cpu", "memory", "overlay", "address", "created")
#: What asks for attention comes first.
_STATE_ORDER = ("failed", "creating", "starting", "stopping", "deleting", "running", "paused")
_NO_USE = Use(None, None, 0)


def overlay_fill(vm: VMView) -> float:
    """The share of the overlay that is used."""
    return vm["overlay_used_bytes"] / vm["overlay_bytes"] if vm["overlay_bytes"] else 0.0


def short_size(size: float) -> str:
    """``size`` bytes in at most five columns: ``512M``, ``1.5G``."""
    for unit in "BKMGT":
        if size < 999.5 or unit == "T":
            return f"{size:.1f}{unit}" if size < 9.95 and unit not in "BK" else f"{size:.0f}{unit}"
        size /= 1024
    return "?"


def cell(world: World, vm: VMView, key: str, width: int) -> Cell:
    """The text of one cell and its tone."""
    if key == "name":
        return vm["name"], ""
    if key == "state":
        appearance = look(vm["state"])
        return f"{appearance.glyph} {vm['state']}", appearance.tone
    if key == "image":
        return vm["image"] or "own", "dim"
    if key == "address":
        return reached_at(vm), ""
    if key == "overlay":
        fill = overlay_fill(vm)
        return f"{fill:.0%}", fill_tone(fill)
    return _figure(world, vm, key, width)


def _figure(world: World, vm: VMView, key: str, width: int) -> Cell:
    figures, history = world.figures.get(vm["id"]), world.history.get(vm["id"])
    if figures is None or history is None:
        return "-", "dim"
    if key == "cpu":
        percent = figures.percent
        number = "" if percent is None else f"{percent:.0f}%"
        return f"{curve(history.cpu, width - 5, 100.0)} {number:>4}", _cpu_tone(percent)
    size = short_size(figures.resident)
    return f"{curve(history.memory, width - 6, memory_top(vm, history))} {size:>5}", ""


def memory_top(vm: VMView, history: History) -> float:
    """The bytes of a full curve: what the VM was given, or more where its VMM itself took more."""
    return max([float(vm["memory_mib"] << 20), *history.memory])


def _cpu_tone(percent: float | None) -> str:
    return "" if percent is None or percent < 90 else "warn"


def _state_rank(vm: VMView) -> int:
    state = vm["state"]
    return _STATE_ORDER.index(state) if state in _STATE_ORDER else len(_STATE_ORDER)


def _keys(world: World) -> dict[str, Callable[[VMView], Any]]:
    def use(vm: VMView) -> Use:
        return world.figures.get(vm["id"], _NO_USE)

    return {
        "name": lambda vm: _natural(vm["name"]),
        "state": _state_rank,
        "cpu": lambda vm: -(use(vm).cores or 0.0),
        "memory": lambda vm: -use(vm).resident,
        "overlay": lambda vm: -overlay_fill(vm),
        "address": lambda vm: _natural(reached_at(vm)),
        "created": lambda vm: vm["created_at"],
    }


@functools.lru_cache(maxsize=8192)
def _natural(text: str) -> tuple[tuple[bool, int, str], ...]:
    """``web-2`` before ``web-10``; the same names come again with every drawing."""
    return tuple(
        (not part.isdigit(), int(part) if part.isdigit() else 0, part)
        for part in re.split(r"(\d+)", text)
        if part
    )


def matches(vm: VMView, words: Iterable[str]) -> bool:
    """Whether every word is in what the list shows of the VM; ``!word`` must not be."""
    text = f"{vm['name']} {vm['state']} {vm['image'] or 'own'} {reached_at(vm)} {vm['id']}"
    for word in words:
        wanted = not word.startswith("!")
        if (word.lstrip("!") in text) != wanted:
            return False
    return True


def arrange(world: World, filter_text: str, order: str) -> list[str]:
    """The ids of the VMs to show, in their order."""
    words = filter_text.lower().split()
    vms = [vm for vm in world.vms.values() if not words or matches(vm, words)]
    keys = _keys(world)
    if order == "name":
        vms.sort(key=keys["name"])
    else:
        key, by_name = keys[order], keys["name"]
        vms.sort(key=lambda vm: (key(vm), by_name(vm)))
    return [vm["id"] for vm in vms]
