"""``tui``: the full-screen view of VMs, images and operations."""

from __future__ import annotations

import os
import sys

import click

from banger.cli.lazy import Command
from banger.cli.session import colour_allowed, connect, option
from banger.errors import InvalidInput


@click.command(
    "tui",
    cls=Command,
    examples=("banger tui", "banger tui --read-only", "banger tui --theme contrast"),
    help="Show VMs, images and operations on the whole terminal, live; ? explains the keys.",
)
@click.option("--read-only", is_flag=True, help="Look, and change nothing.")
@click.option(
    "--theme", type=click.Choice(["dark", "light", "contrast"]), default="dark",
    help="Colours (dark); T changes them.",
)  # fmt: skip
def tui(*, read_only: bool, theme: str) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise InvalidInput(
            "banger tui needs a terminal",
            cause="its input and output are not both a terminal that can be drawn on",
            resolution="banger ls",
        )
    client = connect()
    if not colour_allowed(os.environ, refused=option("no_color")):
        os.environ["NO_COLOR"] = "1"  # the name that Textual knows, and commands run from it
    from banger.tui.app import BangerTUI

    app = BangerTUI(client, read_only=read_only, theme=theme)
    app.run()
    return app.return_code or 0
