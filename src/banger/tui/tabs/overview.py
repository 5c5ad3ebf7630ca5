"""The tab Overview: how a VM is, what it uses, where it is reached (pure)."""

from __future__ import annotations

from rich.text import Text

from banger.cli.moments import age, unix_time
from banger.cli.reach import reached_at
from banger.cli.units import MIB, format_age, format_size
from banger.client.views import VMView
from banger.tui.bars import progress_text
from banger.tui.glyphs import bar, curve, fill_tone, look
from banger.tui.tabs.page import TITLE, Page
from banger.tui.themes import Tones
from banger.tui.vm_rows import memory_top, overlay_fill
from banger.tui.world import World


def overview(world: World, vm: VMView, tones: Tones, columns: int, now: float) -> Page:
    """Everything about ``vm`` that one asks first."""
    page = Page(tones)
    appearance = look(vm["state"])
    state = Text(f"{appearance.glyph} {vm['state']}", tones[appearance.tone])
    if vm["state"] == "running" and vm["started_at"]:
        state.append(f" for {format_age(now - unix_time(vm['started_at']))}", tones["dim"])
    page.drawn("state", state)
    operation = world.of_target(vm["id"])
    if operation is not None:
        page.drawn("does", progress_text(operation, tones))
    _trouble(page, vm)
    _figures(page, world, vm, columns - TITLE - 3)
    cpus = "1 CPU" if vm["vcpus"] == 1 else f"{vm['vcpus']} CPUs"
    page.row("has", f"{cpus}, {format_size(vm['memory_mib'] * MIB)} of memory")
    page.row("image", vm["image"] or "own files")
    page.row("address", reached_at(vm))
    page.row("name", vm["dns_name"])
    page.row("ssh", f"banger ssh {vm['name']}", "key")
    page.row("internet", "yes" if vm["nat"] else "no (a lets it)")
    machine = f"{vm['vmm']} ({vm['accelerator']})" if vm["accelerator"] else vm["vmm"]
    page.row("VMM", f"{machine}{', in a jail' if vm.get('jail') else ''}")
    page.row("drivers", f"{vm['storage']}, {vm['network']}, boots {vm['profile']}")
    page.row("pid", str(vm["pid"] or ""))
    page.row("created", f"{age(vm['created_at'], now)} ago")
    page.row("id", vm["id"])
    page.row("files", vm["directory"])
    return page


def _trouble(page: Page, vm: VMView) -> None:
    last, problem = vm["last_exit"], vm["problem"]
    if vm["state"] in ("stopped", "failed") and last and last["reason"] != "stopped":
        detail = f": {last['detail']}" if last["detail"] else ""
        page.row("ended", f"{last['reason']}{detail}", "warn")
    if problem:
        page.row("error", problem.get("brief", ""), "bad")
        page.row("cause", problem.get("cause", ""))
        page.row("try", problem.get("resolution", ""), "key")
    for warning in vm["warnings"]:
        page.row("warning", f"! {warning}", "warn")


def _figures(page: Page, world: World, vm: VMView, columns: int) -> None:
    figures, history = world.figures.get(vm["id"]), world.history.get(vm["id"])
    fill = overlay_fill(vm)
    width = max(8, min(columns - 20, 60))
    tones = page.tones
    if figures is not None and history is not None:
        percent = figures.percent
        cpu = Text(curve(history.cpu, width, 100.0), tones["good"])
        page.drawn("CPU", cpu.append("" if percent is None else f" {percent:.0f}%", tones[""]))
        memory = Text(curve(history.memory, width, memory_top(vm, history)), tones["busy"])
        page.drawn("memory", memory.append(f" {format_size(figures.resident)}", tones[""]))
    used = Text(bar(fill, width), tones[fill_tone(fill) or "dim"])
    sizes = f" {format_size(vm['overlay_used_bytes'])} of {format_size(vm['overlay_bytes'])}"
    page.drawn("overlay", used.append(sizes, tones[""]))
