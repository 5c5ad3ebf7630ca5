"""The tab Disk: how full the overlay is, the work disk, and what is read and written (pure)."""

from __future__ import annotations

from rich.text import Text

from banger.cli.units import format_size
from banger.client.views import VMView
from banger.tui.glyphs import bar, fill_tone
from banger.tui.tabs.page import TITLE, Page
from banger.tui.themes import Tones
from banger.tui.vm_rows import overlay_fill
from banger.tui.world import World


def disk(world: World, vm: VMView, tones: Tones, columns: int) -> Page:
    """The drives of ``vm``."""
    page = Page(tones)
    fill = overlay_fill(vm)
    tone = fill_tone(fill)
    width = max(8, min(columns - TITLE - 10, 60))
    drawn = Text(bar(fill, width), tones[tone or "good"]).append(f" {fill:.0%}", tones[tone])
    page.drawn("overlay", drawn)
    page.row("used", f"{format_size(vm['overlay_used_bytes'])} of "
             f"{format_size(vm['overlay_bytes'])}")  # fmt: skip
    if tone:
        page.row("", "! a full overlay breaks the guest; e makes it larger", tone)
    work = vm["work_disk_bytes"]
    page.row("work disk", format_size(work) if work else "none", "" if work else "dim")
    page.row("driver", vm["storage"])
    page.row("image", f"{vm['image'] or 'own files'} {vm['image_id']}".strip())
    page.row("files", vm["directory"])
    page.gap()
    figures = world.traffic(vm["id"])
    if figures is None or figures.get("disk_read_bytes") is None:
        page.row("traffic", "nobody counts it" if figures else "it does not run", "dim")
        return page
    for title, rate, total in (
        ("read", "disk_read_rate", "disk_read_bytes"),
        ("written", "disk_written_rate", "disk_written_bytes"),
    ):
        speed = "-" if figures[rate] is None else f"{format_size(figures[rate])}/s"
        page.row(title, f"{speed}  {format_size(figures[total])} in all")
    return page
