"""``vm show``."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import click

from banger.cli.lazy import Command
from banger.cli.listing import print_json
from banger.cli.moments import age
from banger.cli.names import vm_names
from banger.cli.ports import port_text
from banger.cli.session import connect, say
from banger.cli.sheet import print_sheet
from banger.cli.targets import suggest
from banger.cli.units import MIB, format_age, format_size
from banger.client.client import BangerClient
from banger.client.views import VMView
from banger.errors import NotFound


def find_vm(client: BangerClient, ref: str) -> VMView:
    """The VM, or ``NotFound`` with the names that may have been meant."""
    try:
        return client.vm(ref)
    except NotFound as error:
        raise suggest(client, error, ref) from None


def describe(vm: VMView) -> list[tuple[str, str]]:
    """What there is to say about a VM, as titles and texts; empty texts are left out."""
    rows = [
        ("name", vm["name"]),
        ("id", vm["id"]),
        ("state", vm["state"]),
        ("image", vm["image"]),
        ("cpus", str(vm["vcpus"])),
        ("memory", format_size(vm["memory_mib"] * MIB)),
        ("overlay", f"{_size(vm['overlay_used_bytes'])} used of {_size(vm['overlay_bytes'])}"),
        ("work disk", _size(vm["work_disk_bytes"]) if vm["work_disk_bytes"] else ""),
        ("vmm", " ".join(filter(None, [vm["vmm"], _in_brackets(vm["accelerator"])]))),
        ("storage", vm["storage"]),
        ("network", vm["network"]),
        ("profile", vm["profile"]),
        ("address", vm["address"]),
        ("mac", vm["mac"]),
        ("dns name", vm["dns_name"]),
        ("ssh", f"{vm['ssh_host']}:{vm['ssh_port']}" if vm["ssh_host"] else ""),
        ("nat", "up" if vm.get("nat") else "down"),
        ("isolated", "yes" if vm.get("isolated") else ""),
        ("jail", "yes" if vm.get("jail") else ""),
        ("restart", "always" if vm.get("restart") == "always" else ""),
        ("host access", "yes" if vm.get("host_access") else ""),
        ("ports", ", ".join(map(port_text, vm.get("forwards") or ()))),
        ("pid", str(vm["pid"] or "")),
        ("created", f"{vm['created_at']} ({age(vm['created_at'])} ago)"),
        ("up", format_age(vm["uptime_seconds"]) if vm["uptime_seconds"] else ""),
        ("files", vm["directory"]),
    ]
    if last := vm["last_exit"]:
        # A panic's detail goes on for lines; the whole is in the log and in --json.
        detail = f": {last['detail'].splitlines()[0]}" if last["detail"].strip() else ""
        rows.append(("last exit", f"{last['reason']}, {age(last['at'])} ago{detail}"))
    if problem := vm["problem"]:
        for key in ("brief", "cause", "resolution"):
            title = {"brief": "problem", "cause": "cause", "resolution": "try"}[key]
            rows.append((title, cast("dict[str, str]", problem).get(key, "")))
    rows += [("warning", text) for text in vm.get("warnings") or ()]
    return rows


_size: Callable[[int], str] = format_size


def _in_brackets(text: str) -> str:
    return f"({text})" if text else ""


@click.command(
    "show",
    cls=Command,
    examples=("banger show web", "banger show web --json"),
    help="Show everything about VMs.",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=vm_names())
@click.option("--json", "as_json", is_flag=True, help="JSON: an object, or an array for several.")
def show(*, names: tuple[str, ...], as_json: bool) -> None:
    client = connect()
    vms = [find_vm(client, name) for name in names]
    if as_json:
        print_json(vms[0] if len(vms) == 1 else vms)
        return
    for number, vm in enumerate(vms):
        if number:
            say()
        print_sheet(describe(vm))
