"""``nat up``, ``down`` and ``status``."""

from __future__ import annotations

from typing import Any

import click

from banger.cli.lazy import Command
from banger.cli.listing import (
    Field,
    Object,
    Output,
    choose_fields,
    output_options,
    print_items,
    take_output,
    wanted_keys,
)
from banger.cli.names import vm_names
from banger.cli.ports import port_text
from banger.cli.session import connect
from banger.cli.targets import act, expand, report
from banger.cli.vm_power import targets
from banger.cli.vm_show import find_vm

#: The states in which it can be changed, those of ``banger.model.lifecycle``.
CHANGEABLE = ("stopped", "failed", "running", "paused")


def _ports(item: Object) -> str:
    return ", ".join(map(port_text, item.get("forwards") or ())) or "-"


FIELDS = [
    Field("name", "NAME", lambda item: str(item["name"]), shrink=False),
    Field("state", "STATE", lambda item: str(item["state"])),
    Field("nat", "NAT", lambda item: "up" if item.get("nat") else "down"),
    Field("network", "NETWORK", lambda item: str(item["network"])),
    Field("address", "ADDRESS", lambda item: str(item["address"])),
    Field("isolated", "ISOLATED", lambda item: "yes" if item.get("isolated") else "no"),
    Field("forwards", "PORTS", _ports),
]
DEFAULT = ("name", "state", "nat", "network", "address", "forwards")


def _set(*, up: bool, names: tuple[str, ...], everything: bool, quiet: bool, as_json: bool) -> int:
    client = connect()
    refs = expand(client, names, everything=everything, states=CHANGEABLE)
    outcomes = act(client, refs, lambda ref: client.nat(ref, up=up), quiet=quiet or as_json)
    form = "json" if as_json else "table"
    return report(outcomes, "NAT up for" if up else "NAT down for", Output(form, quiet=quiet))


@click.command(
    "up",
    cls=Command,
    examples=("banger nat up web", "banger nat up --all"),
    help="Let VMs reach the internet, now and whenever they run.",
)
@targets(*CHANGEABLE)
def up(**options: Any) -> int:
    return _set(up=True, **options)


@click.command(
    "down",
    cls=Command,
    examples=("banger nat down web", "banger nat down --all"),
    help="Keep VMs from the internet again; connections that are open end.",
)
@targets(*CHANGEABLE)
def down(**options: Any) -> int:
    return _set(up=False, **options)


@click.command(
    "status",
    cls=Command,
    examples=("banger nat status", "banger nat status web --json"),
    help="Show which VMs reach the internet, and the ports published for them.",
)
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=vm_names())
@output_options
def status(*, names: tuple[str, ...], **options: Any) -> None:
    output = take_output(options)
    chosen = choose_fields(FIELDS, DEFAULT, output)
    client = connect()
    keys = wanted_keys(FIELDS, chosen, output) or ["id", "name", *DEFAULT]
    vms = [find_vm(client, ref) for ref in names] if names else client.vms(keys)
    shown = [{key: vm.get(key) for key in keys} for vm in vms]
    print_items(shown, FIELDS, DEFAULT, output, empty="no VMs yet")
