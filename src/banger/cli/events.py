"""``events``: what happens, as it happens."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from banger.cli.lazy import Command
from banger.cli.names import operation_ids
from banger.cli.progress import VERBS
from banger.cli.session import connect, say
from banger.cli.text import clean
from banger.client.events import ReceivedEvent


def describe(event: ReceivedEvent) -> str:
    """One line for people about ``event``."""
    data = event.data
    if event.kind == "operation":
        target = data.get("target") or {}
        verb = VERBS.get(str(data.get("kind")), str(data.get("kind")))
        text = f"{data.get('id')} {verb} {target.get('name')}: {data.get('status')}"
        brief = (data.get("error") or {}).get("brief")
        return f"{text} ({brief})" if brief else text
    if event.kind == "step":
        return f"{data.get('operation_id')} {data.get('title')}: {data.get('phase')}"
    if event.kind == "log":
        fraction = data.get("fraction")
        share = f" {fraction:.0%}" if isinstance(fraction, int | float) else ""
        return f"{data.get('operation_id')} {data.get('title')}{share} {data.get('detail') or ''}"
    return f"{data.get('name')}: {data.get('state', 'deleted')}"


@click.command(
    "events",
    cls=Command,
    examples=("banger events", "banger events --json | jq .kind"),
    help="Follow what happens to VMs, images and operations, until Ctrl-C.",
)
@click.option(
    "--operation", default="", metavar="ID", shell_complete=operation_ids,
    help="Only this operation, from its beginning to its end.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def events(*, operation: str, as_json: bool) -> None:
    import sys

    from banger.cli.operation import find_operation
    from banger.client.follow import watch

    client = connect()
    operation_id = find_operation(client, operation)["id"] if operation else ""
    for event in watch(client, operation_id):
        if as_json:
            line: dict[str, Any] = {"kind": event.kind, "data": event.data}
            say(json.dumps(line, ensure_ascii=False))
        else:
            say(f"{time.strftime('%H:%M:%S')}  {event.kind:<9} {clean(describe(event))}".rstrip())
        sys.stdout.flush()
