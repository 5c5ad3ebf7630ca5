"""The tab Events: what happened to a VM since the screen was opened, and its operations (pure)."""

from __future__ import annotations

import time

from rich.text import Text

from banger.cli.moments import age
from banger.cli.progress import label
from banger.cli.text import clean
from banger.client.views import VMView
from banger.tui.glyphs import look
from banger.tui.themes import Tones
from banger.tui.world import World


def happenings(world: World, vm: VMView, tones: Tones, now: float) -> Text:
    """Operations of ``vm`` first, then events, oldest first."""
    text = Text()
    for operation in world.operations.values():
        if operation["target"]["id"] == vm["id"]:
            appearance = look(operation["status"])
            text.append(f"{appearance.glyph} {label(operation)}", tones[appearance.tone])
            text.append(f"  {age(operation['created_at'], now)} ago", tones["dim"])
            brief = (operation["error"] or {}).get("brief")
            text.append(f"\n  {clean(brief)}\n" if brief else "\n", tones["bad"])
    text.append("\n" if text else "")
    told = [one for one in world.happened if one.target == vm["id"]]
    for one in told:
        text.append(time.strftime("%H:%M:%S ", time.localtime(one.at)), tones["dim"])
        text.append(clean(one.text) + "\n")
    if not told:
        text.append("no event since this screen was opened", tones["dim"])
    return text
