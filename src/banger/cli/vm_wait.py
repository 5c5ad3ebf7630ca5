"""``vm wait``: until VMs answer or have stopped."""

from __future__ import annotations

import time
from typing import cast

import click

from banger.cli.lazy import Command
from banger.cli.names import vm_names
from banger.cli.session import connect, say, settings
from banger.cli.targets import expand
from banger.cli.values import DURATION
from banger.cli.vm_show import find_vm
from banger.client.waiting import Condition, wait_for


@click.command(
    "wait",
    cls=Command,
    examples=("banger wait web", "banger wait web db --for stopped --timeout 10m"),
    help="Wait until VMs answer, or have stopped; prints each name when it is so.",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=vm_names())
@click.option(
    "--for", "condition", type=click.Choice(["ssh", "agent", "stopped"]), default="ssh",
    show_default=True, help="SSH or the agent answers, or the VM has stopped.",
)  # fmt: skip
@click.option(
    "--timeout", type=DURATION, metavar="TIME",
    help="For all of them (120s; for stopped: for ever).",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="No names.")
def wait(*, names: tuple[str, ...], condition: str, timeout: float | None, quiet: bool) -> None:
    client = connect()
    vms = [find_vm(client, name) for name in expand(client, names, everything=False)]
    seconds = timeout
    if seconds is None and condition != "stopped":
        seconds = settings().start_timeout
    deadline = None if seconds is None else time.monotonic() + seconds
    for vm in vms:
        wait_for(client, vm, cast("Condition", condition), deadline)
        if not quiet:
            say(vm["name"])
