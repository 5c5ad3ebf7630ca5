"""``vm list``."""

from __future__ import annotations

from typing import Any

import click

from banger.cli.lazy import Command
from banger.cli.listing import (
    Field,
    Object,
    choose_fields,
    output_options,
    print_items,
    take_output,
    wanted_keys,
)
from banger.cli.moments import age
from banger.cli.reach import reached_at
from banger.cli.session import connect
from banger.cli.text import paint
from banger.cli.units import MIB, format_age, format_size


def _plain(key: str, title: str) -> Field:
    return Field(key, title, lambda item: str(item.get(key) or "-"))


def _size(key: str, title: str, source: str) -> Field:
    def show(item: Object) -> str:
        value = item.get(source)
        return format_size(value) if value else "-"

    return Field(key, title, show, source=source, right=True)


def _state(item: Object) -> str:
    """The state, and why a VM that nobody stopped is not running."""
    state = str(item.get("state"))
    last = item.get("last_exit")
    if state == "stopped" and last and last.get("reason") not in ("stopped", None):
        return f"{state} ({last['reason']})"
    return state


FIELDS = [
    Field("name", "NAME", lambda vm: str(vm.get("name"))),
    Field("id", "ID", lambda vm: str(vm.get("id")), shrink=False),
    Field("state", "STATE", _state, also=("last_exit",)),
    _plain("image", "IMAGE"),
    Field("vcpus", "CPU", lambda vm: str(vm.get("vcpus")), right=True, shrink=False),
    Field(
        "memory",
        "MEMORY",
        lambda vm: format_size(vm["memory_mib"] * MIB),
        source="memory_mib",
        right=True,
        shrink=False,
    ),
    Field("address", "ADDRESS", reached_at, also=("network", "ssh_host", "ssh_port")),
    Field(
        "uptime",
        "UP",
        lambda vm: format_age(vm["uptime_seconds"]) if vm.get("uptime_seconds") else "-",
        source="uptime_seconds",
        right=True,
        shrink=False,
    ),
    Field("created", "AGE", lambda vm: age(vm.get("created_at")), source="created_at", right=True),
    _size("overlay", "OVERLAY", "overlay_bytes"),
    _size("used", "USED", "overlay_used_bytes"),
    _size("disk", "DISK", "work_disk_bytes"),
    _plain("vmm", "VMM"),
    _plain("accelerator", "ACCELERATOR"),
    _plain("storage", "STORAGE"),
    _plain("network", "NETWORK"),
    _plain("profile", "PROFILE"),
    _plain("mac", "MAC"),
    _plain("dns_name", "DNS NAME"),
    _plain("pid", "PID"),
    Field(
        "ssh",
        "SSH",
        lambda vm: f"{vm['ssh_host']}:{vm['ssh_port']}" if vm.get("ssh_host") else "-",
        source="ssh_port",
        also=("ssh_host",),
    ),
    Field("problem", "PROBLEM", lambda vm: (vm.get("problem") or {}).get("brief", "-") or "-"),
]
DEFAULT = ("name", "state", "image", "vcpus", "memory", "address", "uptime", "created")

STATE_STYLES = {
    "running": "green", "stopped": "", "paused": "yellow", "failed": "red",
}  # fmt: skip


def paint_cell(key: str, cell: str, text: str) -> str:
    """Colour of one cell: the state only, and always beside the word itself."""
    if key != "state":
        return text
    return paint(text, STATE_STYLES.get(cell.partition(" ")[0], "cyan"), colour=True)


@click.command(
    "list",
    cls=Command,
    examples=("banger ls", "banger vm list --json", "banger vm list 'web-*' --state running"),
    help="List VMs; PATTERN picks names and may have * and ?.",
)
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--state", metavar="STATE", help="Only VMs in this state.")
@click.option("-a", "--all", "everything", is_flag=True, hidden=True, help="All (the default).")
@output_options
def list_vms(
    *,
    patterns: tuple[str, ...],
    state: str | None,
    everything: bool,  # noqa: ARG001 - accepted by habit
    **rest: Any,
) -> None:
    output = take_output(rest)
    chosen = choose_fields(FIELDS, DEFAULT, output)
    keys = wanted_keys(FIELDS, chosen, output)
    if keys and state:
        keys.append("state")
    vms: list[Object] = list(connect().vms(keys))
    if patterns:
        from fnmatch import fnmatchcase

        vms = [vm for vm in vms if any(fnmatchcase(vm["name"], pattern) for pattern in patterns)]
    if state:
        vms = [vm for vm in vms if vm["state"] == state]
    empty = "no VM matches" if patterns or state else "no VMs yet; make one with: banger run"
    print_items(vms, FIELDS, DEFAULT, output, painter=paint_cell, empty=empty)
