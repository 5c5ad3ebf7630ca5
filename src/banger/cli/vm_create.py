"""``vm create``."""

from __future__ import annotations

from typing import Any

import click

from banger.cli.interrupts import termination_interrupts
from banger.cli.lazy import Command
from banger.cli.listing import print_json
from banger.cli.making import Making
from banger.cli.session import connect, note, say, settings
from banger.cli.vm_options import vm_body, vm_options


@click.command(
    "create",
    cls=Command,
    examples=("banger create --name web", "banger create --vcpu 4 --ram 2G --disk-size 16G"),
    help="Create a VM without starting it, and print its name.",
)
@vm_options
@click.option("-q", "--quiet", is_flag=True, help="The name only, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the VM as JSON.")
def create(*, quiet: bool, as_json: bool, **options: Any) -> None:
    preferences = settings()
    body = vm_body(options, preferences)
    making = Making(connect(), quiet=quiet, suite=preferences.suite)
    with termination_interrupts():
        try:
            making.image(body, preferences.image)
            making.create(body)
            vm = making.vm()
        except KeyboardInterrupt:
            note("interrupted; removing what was made")
            making.remove()
            raise
    if as_json:
        print_json(vm)
    elif quiet:
        say(vm["name"])
    else:
        say(f"created {vm['name']}")
        note(f"start it: banger start {vm['name']}")
